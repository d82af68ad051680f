"""What a command loads: what it does not need would be most of the time from typing it to its end."""

import subprocess
import sys

SMALL_JOB = """
import sys
from chainrule.cli.main import main
status = main(["fit", "iris", "--epochs", "1"])
heavy = ("jax", "jaxlib", "sklearn", "scipy", "matplotlib", "torch", "pandas", "jinja2")
print(status, [name for name in heavy if name in sys.modules])
"""


def test_a_small_training_loads_neither_jax_nor_scikit_learn(outside):
    done = subprocess.run([sys.executable, "-c", SMALL_JOB], **outside)
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr


def test_asking_for_help_loads_no_table_library(outside):
    code = "import sys\nfrom chainrule.cli.main import parser\nparser().format_help()\nprint('polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], **outside).stdout == "False\n"

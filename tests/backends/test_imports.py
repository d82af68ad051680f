import os
import subprocess
import sys
from pathlib import Path

import chainrule


def loaded(code):
    script = f"import sys\n{code}\nprint(*sorted(sys.modules))"
    found = os.environ | {"PYTHONPATH": str(Path(chainrule.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=found)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


HEAVY = ("jax", "jaxlib", "polars", "sklearn", "scipy", "rich", "torch", "matplotlib", "pandas", "safetensors")


def test_importing_chainrule_imports_numpy_and_nothing_heavy():
    modules = loaded("import chainrule")
    assert "numpy" in modules
    assert not modules & set(HEAVY)


def test_computing_on_numpy_imports_nothing_heavy():
    modules = loaded(
        "import chainrule as cr\n"
        "f = cr.compile(lambda x: cr.tanh(x).sum(), backend='numpy')\n"
        "f([1.0, 2.0]); cr.grad(lambda x: cr.sin(x))(1.0); cr.compile(lambda x: x * 2.0)(1.0)"
    )
    assert not modules & set(HEAVY)


def test_the_compiled_backend_leaves_the_precision_of_other_jax_code_alone():
    code = (
        "import chainrule as cr, numpy as np\n"
        "y = cr.compile(lambda x: cr.tanh(x), backend='xla')(np.ones(2))\n"
        "assert y.dtype == np.float64\n"
        "import jax\n"
        "assert jax.numpy.ones(2).dtype == 'float32'\n"
        "assert not jax.config.jax_enable_x64"
    )
    assert "jax" in loaded(code)

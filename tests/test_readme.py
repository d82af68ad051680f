"""The README's Python runs as it stands, and its two commands are the ones that are checked."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("block", range(len(BLOCKS)))
def test_every_python_block_of_the_readme_runs(block: int, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    names = {"X": random.normal(size=(100, 64)), "y": random.integers(0, 10, 100), "X_new": random.normal(size=(3, 64))}
    exec("import chainrule as cr\n" + BLOCKS[block], names)


def test_the_readme_has_one_line_to_install_and_fit_and_one_to_test() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert sum("pip install" in line and "chainrule fit digits" in line for line in lines) == 1
    assert sum("pip install" in line and line.endswith("pytest") for line in lines) == 1

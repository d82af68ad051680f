"""The page on scikit-learn runs as it stands."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "sklearn.md"


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_blocks_of_the_page_run_one_after_another():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names = {}
    for block in blocks:
        exec(block.replace("tol=1e-3", "max_iter=5"), names)
    assert len(blocks) == 3
    assert names["table"].scores_["accuracy"].value > 0.9
    assert names["search"].packed_ == 20

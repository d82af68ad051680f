import numpy as np

import chainrule as cr
from chainrule import nn


def test_a_summary_has_a_row_a_module_and_the_total() -> None:
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10))
    summary = model.summary((32, 64))
    assert summary.total == 64 * 128 + 128 + 128 * 10 + 10
    lines = str(summary).splitlines()
    assert lines[0].split() == ["module", "kind", "output", "shape", "parameters"]
    assert [line.split()[:2] for line in lines[2:-1]] == [
        ["0", "Linear"],
        ["1", "ReLU"],
        ["2", "Dropout"],
        ["3", "Linear"],
    ]
    assert "(32, 128)" in lines[2]
    assert "8,320" in lines[2]
    assert lines[-1].split() == ["total", "9,610"]


def test_a_shared_parameter_counts_once_in_the_total() -> None:
    layer = nn.Linear(3, 3)
    assert nn.Sequential(layer, nn.Tanh(), layer).summary((1, 3)).total == 12


def test_nested_modules_have_rows_of_their_own_parameters() -> None:
    text = str(nn.Sequential(nn.Sequential(nn.Linear(2, 2))).summary((1, 2)))
    rows = {line.split()[0]: line.split()[-1] for line in text.splitlines()[2:-1]}
    assert rows == {"0.0": "6", "0": "0"}


def test_a_summary_leaves_the_model_as_it_was_and_needs_no_key() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    before = model.state_dict()
    model.summary((4, 2))
    assert model[1].training
    assert all(np.array_equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_module_that_gives_several_results_shows_all_their_shapes() -> None:
    class Fork(nn.Module):
        def __init__(self) -> None:
            self.split, self.join = nn.Duplicate(2), nn.Add()

        def forward(self, x: cr.Tensor) -> cr.Tensor:
            return self.join(*self.split(x))

    assert "(5, 3), (5, 3)" in str(Fork().summary((5, 3)))


def test_a_linear_layer_with_batch_normalisation_counts_as_on_the_exercise_sheet() -> None:
    assert nn.Sequential(nn.Linear(20, 20), nn.BatchNorm(20)).summary((1, 20)).total == 20 * (20 + 1 + 2) == 460
    assert nn.Sequential(nn.Linear(10, 20), nn.BatchNorm(20)).summary((1, 10)).total == 20 * (10 + 1 + 2) == 260

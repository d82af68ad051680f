import json
from typing import Any

import pytest

from chainrule import nn, optim
from chainrule.errors import RunError
from chainrule.train.serialize import from_recipe, to_recipe

THINGS: list[Any] = [
    nn.Sequential(nn.Linear(4, 3, bias=False, init="xavier_normal"), nn.Sequential(nn.Dropout(0.25), nn.Flatten())),
    nn.Sequential(
        *(kind() for kind in (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.LogSigmoid, nn.SiLU, nn.Identity, nn.Add, nn.Max))
    ),
    nn.Sequential(nn.LeakyReLU(0.2), nn.ELU(0.5), nn.SELU(), nn.GELU("tanh"), nn.Softplus(2.0)),
    nn.Checkpoint(nn.Linear(2, 2), nn.Checkpoint(nn.ReLU())),
    nn.BatchNorm(3, eps=1e-3, momentum=0.2, affine=False),
    nn.LayerNorm(3, eps=1e-3),
    nn.Sequential(nn.Embedding(4, 3), nn.PiecewiseLinear(2, 5)),
    nn.Sequential(nn.EnsembleInput(2, 3, [0, 1], [2], [20], bins=4, embedding_dim=3), nn.EnsembleOutput()),
    nn.LinearEnsemble(2, 3, 4, init="zeros"),
    nn.EnsembleLoss(nn.CrossEntropyLoss("none", label_smoothing=0.1), labels=True),
    nn.NamedLosses({"kind": nn.CrossEntropyLoss(), "price": nn.HuberLoss(delta=2.0)}, {"price": 0.5}),
    nn.Softmax(axis=0),
    nn.LogSoftmax(axis=1),
    nn.Duplicate(3),
    nn.CrossEntropyLoss("sum", label_smoothing=0.1, ignore_index=-1),
    nn.NLLLoss(ignore_index=0),
    nn.NLLLoss(),
    nn.BCELoss(),
    nn.BCEWithLogitsLoss("none"),
    nn.MSELoss("sum"),
    nn.L1Loss("none"),
    nn.HuberLoss("sum", delta=0.5),
    optim.SGD(0.1, momentum=0.9, nesterov=True),
    optim.Adam(0.2, betas=(0.5, 0.6), eps=1e-3),
    optim.AdamW(0.3, weight_decay=0.4),
    optim.Adamax(0.3, betas=(0.5, 0.6), eps=1e-4),
    optim.Nadam(0.3, momentum_decay=0.1),
    optim.AdaGrad(0.3, initial_accumulator_value=0.1),
    optim.RMSProp(0.3, rho=0.8, momentum=0.7, centered=True),
    optim.Adadelta(0.3, rho=0.8),
    optim.LBFGS(0.3, history_size=5, line_search=None),
    optim.Constant(),
    optim.Step(3, 0.5),
    optim.Exponential(0.9),
    optim.Linear(10, final=0.1),
    optim.Cosine(10, final=0.1),
    optim.ReduceOnPlateau(0.5, patience=3, threshold=0.01, cooldown=2, min_factor=0.1),
    optim.Warmup(optim.ReduceOnPlateau(), steps=5),
    optim.OneCycle(20, pct_start=0.4, div_factor=10.0, final_div_factor=100.0),
    optim.Warmup(optim.Cosine(), steps=5),
    optim.L1(0.1, biases=True),
    optim.L2(0.2),
    optim.ClipNorm(1.5),
    optim.ClipValue(2.5),
]


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: type(thing).__name__)
def test_a_thing_of_our_own_is_plain_data_and_back(thing: Any) -> None:
    recipe = to_recipe(thing)
    back = from_recipe(json.loads(json.dumps(recipe)))
    assert type(back) is type(thing)
    assert to_recipe(back) == recipe
    assert repr(back) == repr(thing)


def test_a_module_and_a_schedule_of_one_name_are_told_apart() -> None:
    assert to_recipe(nn.Linear(2, 3))["type"] == "Linear"
    assert to_recipe(optim.Linear())["type"] == "optim.Linear"


def test_what_is_not_our_own_has_no_recipe() -> None:
    class Mine(nn.Linear):
        pass

    assert to_recipe(Mine(2, 2)) is None
    assert to_recipe(nn.Lambda(abs)) is None
    assert to_recipe(nn.NamedLosses({"a": nn.MSELoss(), "b": abs})) is None
    assert to_recipe(nn.Sequential(nn.ReLU(), nn.Lambda(abs))) is None
    assert to_recipe(nn.Sequential(nn.Sequential(Mine(2, 2)))) is None
    assert to_recipe(None) is None


def test_every_public_kind_is_tried_here() -> None:
    def kinds(thing: Any) -> set[type]:
        return {type(thing)} | {kind for layer in getattr(thing, "layers", ()) for kind in kinds(layer)}

    tried = set().union(*(kinds(thing) for thing in THINGS))
    bases = {
        nn.Module,
        nn.Loss,
        nn.Lambda,
        nn.Parameter,
        nn.Buffer,
        optim.Optimizer,
        optim.Schedule,
        optim.Penalty,
        optim.Clip,
    }
    public = {getattr(space, name) for space in (nn, optim) for name in space.__all__ if name[0].isupper()}
    assert public - bases - tried == set()


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"type": "Bilinear"}, r"unknown part: got 'Bilinear'"),
        ({}, r"unknown part"),
        ({"type": "Linear", "in_features": 3}, r"Linear: the recipe does not fit this version.*out_features"),
        ({"type": "Sequential"}, r"Sequential: the recipe does not fit"),
        ({"type": "Dropout", "p": 7}, r"Dropout: the recipe does not fit.*in \[0, 1\]"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(recipe: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        from_recipe(recipe)

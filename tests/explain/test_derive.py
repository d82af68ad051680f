"""The numbers of a derivation, against plain NumPy, JAX, define-by-run, finite differences and the Trainer."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError, ChainruleError, DataError, ShapeError, TraceError
from chainrule.explain import Derivation, derive

Array = np.ndarray[Any, Any]
X = np.array([[-2.0, 2.0, 2.0], [-1.0, 0.0, -1.0], [0.0, 1.0, 2.0]])
Y = np.array([[1.0], [0.0], [0.0]])
WEIGHTS = {
    "0.weight": np.array([[0.1, 0.2, 0.1], [0.8, -0.5, -0.6]]),
    "0.bias": np.array([-0.1, -0.1]),
    "2.weight": np.array([[0.21, 0.36]]),
    "2.bias": np.array([0.14]),
}


def double(model: nn.Module) -> nn.Module:
    """The model with its numbers in double precision, as a Trainer of that precision would have it."""
    for tensor in [*model.parameters(), *model.buffers()]:
        tensor.value = np.asarray(tensor.value, np.float64)
        tensor.dtype = np.dtype(np.float64)
    return model


def exercise() -> nn.Module:
    """Three inputs, two SiLU units, one sigmoid output."""
    model = double(nn.Sequential(nn.Linear(3, 2), nn.SiLU(), nn.Linear(2, 1), nn.Sigmoid()))
    model.load_state_dict(WEIGHTS)
    return model


class Residual(nn.Module):
    """A graph with a fan-out, a fan-in, and a parameter that is used twice."""

    def __init__(self, outputs: int) -> None:
        self.inner = nn.Linear(4, 4)
        self.last = nn.Linear(4, outputs)

    def forward(self, x: Any) -> Any:
        a, b = nn.Duplicate(2)(x)
        return self.last(cr.tanh(self.inner(cr.relu(self.inner(a)))) + nn.Max()(b, -a))


class Recurrent(nn.Module):
    """A recurrence over two time steps of two numbers."""

    def __init__(self) -> None:
        self.enter, self.leave = nn.Linear(2, 3), nn.Linear(3, 1)

    def forward(self, x: Any) -> Any:
        steps = cr.swapaxes(cr.reshape(x, (x.shape[0], 2, 2)), 0, 1)
        start = cr.as_tensor(np.zeros((x.shape[0], 3)))
        last, _ = cr.scan(lambda c, now: (cr.tanh(self.enter(now) + c),) * 2, start, steps)
        return self.leave(last)


def rows(outputs: int, labels: bool = False, samples: int = 5) -> tuple[Array, Array]:
    rng = np.random.default_rng(3)
    inputs = rng.normal(size=(samples, 4))
    return inputs, rng.integers(0, outputs, samples) if labels else rng.normal(size=(samples, outputs))


def stack(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


MODELS: dict[str, Any] = {
    "residual, cross-entropy": (lambda: Residual(3), nn.CrossEntropyLoss(label_smoothing=0.1), 3),
    "residual, squared error of two outputs": (lambda: Residual(2), nn.MSELoss(), 2),
    "layer norm, log-softmax, summed": (
        lambda: stack(nn.LayerNorm(4), nn.Linear(4, 3), nn.LogSoftmax()),
        nn.NLLLoss(reduction="sum"),
        3,
    ),
    "recurrence": (Recurrent, nn.MSELoss(), 1),
    "a loss of one's own": (lambda: stack(nn.Linear(4, 1), nn.Tanh()), lambda p, t: cr.mean(cr.square(p - t)), 1),
    "dropout": (lambda: stack(nn.Linear(4, 6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 1)), nn.MSELoss(), 1),
    "batch norm": (
        lambda: stack(nn.Linear(4, 3), nn.BatchNorm(3), nn.ReLU(), nn.Linear(3, 3)),
        nn.CrossEntropyLoss(),
        3,
    ),
    "dropout before batch norm": (
        lambda: stack(nn.Dropout(0.3), nn.Linear(4, 3), nn.BatchNorm(3), nn.Linear(3, 1)),
        nn.MSELoss(),
        1,
    ),
}
ALONE = [name for name in MODELS if "batch" not in name and "dropout" not in name]
OPTIMIZERS = {
    "momentum": lambda: optim.SGD(0.1, momentum=0.9),
    "Nesterov": lambda: optim.SGD(0.1, momentum=0.9, nesterov=True),
    "Adam": lambda: optim.Adam(0.05),
    "RMSProp": lambda: optim.RMSProp(0.01),
    "AdaGrad": lambda: optim.AdaGrad(0.1),
}


def make(name: str) -> tuple[nn.Module, Any, Array, Array]:
    cr.seed(1)
    model, loss, outputs = MODELS[name]
    labels = isinstance(loss, (nn.CrossEntropyLoss, nn.NLLLoss))
    return (double(model()), loss, *rows(outputs, labels))


def gradients(sample: dict[str, Any], model: nn.Module) -> dict[str, Array]:
    return {path: np.array(sample[f"dC/d{path}"]) for path, _ in model.named_parameters()}


def close(a: Any, b: Any, rtol: float = 1e-12, atol: float = 1e-13) -> bool:
    return bool(np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=rtol, atol=atol))


# ---- the exercise, written out in NumPy


def by_hand(w: dict[str, Array], x: Array, y: Array) -> dict[str, Array]:
    """Every value and gradient of one sample, x and y being rows."""
    z1 = x @ w["0.weight"].T + w["0.bias"]
    s = 1 / (1 + np.exp(-z1))
    h1 = z1 * s
    z2 = h1 @ w["2.weight"].T + w["2.bias"]
    p = 1 / (1 + np.exp(-z2))
    dz2 = p - y
    dh1 = dz2 @ w["2.weight"]
    dz1 = dh1 * (s + h1 * (1 - s))
    return {
        "x": x, "y": y, "z1": z1, "h1": h1, "z2": z2, "yhat": p,
        "C": -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum(),
        "dC/dyhat": (p - y) / (p * (1 - p)), "dC/dz2": dz2, "dC/dh1": dh1, "dC/dz1": dz1, "dC/dx": dz1 @ w["0.weight"],
        "dC/d0.weight": dz1.T @ x, "dC/d0.bias": dz1[0], "dC/d2.weight": dz2.T @ h1, "dC/d2.bias": dz2[0],
    }  # fmt: skip


def test_the_exercise_is_worked_out_as_in_plain_numpy():
    values = derive(exercise(), nn.BCELoss(), X, Y, optim.SGD(0.5, momentum=0.9), steps=3).values
    w, v = dict(WEIGHTS), {path: np.zeros_like(weight) for path, weight in WEIGHTS.items()}
    for step in values:
        expected = [by_hand(w, X[i : i + 1], Y[i : i + 1]) for i in range(3)]
        assert all(close(step["parameters"][path], w[path]) for path in w)
        for sample, want in zip(step["samples"], expected, strict=True):
            assert all(close(sample[name], value) for name, value in want.items()), want
        assert close(step["loss"], np.mean([want["C"] for want in expected]))
        for path in w:
            mean = np.mean([want[f"dC/d{path}"] for want in expected], axis=0)
            v[path] = 0.9 * v[path] - 0.5 * mean
            w[path] = w[path] + v[path]
            assert close(step["update"]["gradient"][path], mean)
            assert close(step["update"]["state"]["velocity"][path], v[path])
            assert close(step["update"]["parameters"][path], w[path])


def test_the_exercise_has_the_sheets_figures():
    step = derive(exercise(), nn.BCELoss(), X, Y).values[0]
    assert [round(sample["yhat"][0][0], 3) for sample in step["samples"]] == [0.537, 0.517, 0.521]
    assert round(step["loss"], 3) == 0.695
    assert round(step["update"]["gradient"]["2.bias"][0], 2) == 0.19


def test_the_exercises_gradients_are_jaxs():
    def cost(w: Any, x: Any, y: Any) -> Any:
        h = jax.nn.silu(w["0.weight"] @ x + w["0.bias"])
        p = jax.nn.sigmoid(w["2.weight"] @ h + w["2.bias"])
        return -jnp.sum(y * jnp.log(p) + (1 - y) * jnp.log(1 - p))

    samples = derive(exercise(), nn.BCELoss(), X, Y).values[0]["samples"]
    with jax.enable_x64(True):
        slopes = jax.jit(jax.vmap(jax.grad(cost), (None, 0, 0)))
        expected = slopes({k: jnp.asarray(v) for k, v in WEIGHTS.items()}, X, Y)
    for i, sample in enumerate(samples):
        assert all(close(sample[f"dC/d{path}"], np.asarray(expected[path][i]), rtol=1e-11) for path in WEIGHTS)


def test_every_node_is_named_and_everything_is_plain_lists():
    derivation = derive(exercise(), nn.BCELoss(), X, Y, optim.Adam(0.1))
    forward = ["x", "y", "z1", "h1", "z2", "yhat", "c", "C"]
    backward = ["x", *WEIGHTS, "z1", "h1", "z2", "yhat", "c", "C"]
    assert list(derivation.values[0]["samples"][0]) == [*forward, *(f"dC/d{name}" for name in backward)]
    assert derivation.names["z1"] == "linear, layer 0"
    assert derivation.names["W2"] == "2.weight"

    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(isinstance(k, str) and plain(v) for k, v in value.items())
        return all(map(plain, value)) if isinstance(value, list) else type(value) in (int, float, bool)

    assert plain(derivation.values[0])
    assert plain(derivation.values[0]["update"])


# ---- any model


@pytest.mark.parametrize("name", ALONE)
def test_each_samples_gradient_is_that_of_the_sample_run_define_by_run(name: str):
    model, loss, x, y = make(name)
    step = derive(model, loss, x, y).values[0]
    for i, sample in enumerate(step["samples"]):
        for parameter in model.parameters():
            parameter.grad = None
        cost = loss(model(x[i : i + 1]), y[i : i + 1])
        cost.backward()
        assert close(sample["C"], cost.item())
        found = gradients(sample, model)
        assert all(close(found[path], p.grad.numpy(), atol=1e-12) for path, p in model.named_parameters())


@pytest.mark.parametrize("name", ["residual, cross-entropy", "a loss of one's own"])
def test_each_samples_gradient_is_per_example_grads(name: str):
    model, loss, x, y = make(name)
    step = derive(model, loss, x, y).values[0]
    function = cr.per_example_grad(lambda m, x, y: loss(m(cr.reshape(x, (1, 4))), cr.reshape(y, (1, *y.shape))))
    expected = function(model, cr.tensor(x), cr.tensor(y))
    for i, sample in enumerate(step["samples"]):
        found = gradients(sample, model)
        assert all(close(found[path], expected[path].numpy()[i], atol=1e-12) for path in found)


def test_the_gradients_of_inner_nodes_are_finite_differences_of_the_cost():
    model, loss, x, y = make("residual, squared error of two outputs")
    sample = derive(model, loss, x, y).values[0]["samples"][1]
    numeric = np.zeros((1, 4))
    for j in range(4):
        ends = []
        for shift in (1e-6, -1e-6):
            moved = x[1:2].copy()
            moved[0, j] += shift
            ends.append(loss(model(moved), y[1:2]).item())
        numeric[0, j] = (ends[0] - ends[1]) / 2e-6
    assert close(sample["dC/dx"], numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", MODELS)
def test_the_samples_gradients_average_to_the_one_that_the_optimizer_gets(name: str):
    model, loss, x, y = make(name)
    step = derive(model, loss, x, y).values[0]
    share = 1.0 if getattr(loss, "reduction", "mean") == "sum" else 1 / len(x)
    assert close(step["loss"], share * sum(sample["C"] for sample in step["samples"]))
    for path, gradient in step["update"]["gradient"].items():
        total = share * np.sum([sample[f"dC/d{path}"] for sample in step["samples"]], axis=0)
        assert close(total, gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_the_steps_are_those_of_a_trainer(name: str):
    model, loss, x, y = make(name)
    values = derive(model, loss, x, y, optim.Adam(0.05), steps=3).values
    trainer = cr.Trainer(model, loss, optim.Adam(0.05), metrics=(), precision="float64", backend="numpy")
    history = trainer.fit(x, y, epochs=3, batch_size=len(x), shuffle="never", progress=False)
    assert close([step["loss"] for step in values], history.step_loss, rtol=1e-11)
    state = model.state_dict()
    for path, p in values[-1]["update"]["parameters"].items():
        assert close(p, state[path], rtol=1e-9, atol=1e-9)
    for path, b in values[-1]["update"]["buffers"].items():
        assert close(b, state[path], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_update_is_the_optimizers_over_several_steps(name: str):
    values = derive(exercise(), nn.BCELoss(), X, Y, OPTIMIZERS[name](), steps=4).values
    optimizer = OPTIMIZERS[name]()
    parameters: Any = {path: cr.tensor(weight) for path, weight in WEIGHTS.items()}
    state = optimizer.init(parameters)
    for step in values:
        parameters, state = optimizer.update(
            {path: cr.tensor(g) for path, g in step["update"]["gradient"].items()}, state, parameters
        )
        assert all(close(step["update"]["parameters"][path], p.numpy()) for path, p in parameters.items())
        for key, entry in state.items():
            found = step["update"]["state"][key]
            same = (
                all(close(found[path], t.numpy()) for path, t in entry.items())
                if isinstance(entry, dict)
                else close(found, entry.numpy())
            )
            assert same, key
    assert all(a["update"]["parameters"] == b["parameters"] for a, b in itertools.pairwise(values))


def test_an_optimizer_that_needs_the_objective_gets_it():
    model, loss, x, y = make("a loss of one's own")
    values = derive(model, loss, x, y, optim.LBFGS(), steps=3).values
    assert values[2]["loss"] < values[1]["loss"] < values[0]["loss"]


def test_dropouts_mask_is_shown_and_is_that_of_the_batch():
    model, loss, x, y = make("dropout")
    first, second = (step["samples"] for step in derive(model, loss, x, y, optim.SGD(0.1), steps=2).values)
    draws = np.concatenate([sample["u"] for sample in first])
    assert np.array_equal(np.concatenate([sample["m"] for sample in first]), draws >= 0.5)
    assert len(np.unique(draws)) == draws.size, "every sample draws numbers of its own"
    assert not np.array_equal(draws, np.concatenate([sample["u"] for sample in second])), "and every step new ones"


def test_batch_statistics_couple_the_samples():
    model, loss, x, y = make("batch norm")
    samples = derive(model, loss, x, y).values[0]["samples"]

    def costs(w: dict[str, Array]) -> Array:
        z = x @ w["0.weight"].T + w["0.bias"]
        z = (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5) * w["1.weight"] + w["1.bias"]
        z = np.maximum(z, 0) @ w["3.weight"].T + w["3.bias"]
        return np.log(np.exp(z).sum(1)) - z[np.arange(len(y)), y]

    weights = {path: p.numpy() for path, p in model.named_parameters()}
    for path, weight in weights.items():
        for place in np.ndindex(weight.shape):
            step = np.zeros_like(weight)
            step[place] = 1e-6
            ends = [costs({**weights, path: weight + sign * step}) for sign in (1, -1)]
            found = [np.array(sample[f"dC/d{path}"])[place] for sample in samples]
            assert close(found, (ends[0] - ends[1]) / 2e-6, rtol=1e-6, atol=1e-8)
    assert np.shape(samples[0]["z1"]) == (5, 3), "values are those of all rows"


def test_the_model_stays_as_it_is():
    cr.seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm(3), nn.Dropout(0.5), nn.Linear(3, 1)).eval()
    before, states = model.state_dict(), [module.training for _, module in model.named_modules()]
    x, y = rows(1)
    values = derive(model, nn.MSELoss(), x, y, optim.Adam(0.1), steps=2).values
    after = model.state_dict()
    assert all(before[path].tobytes() == after[path].tobytes() and after[path].dtype == "float32" for path in before)
    assert [module.training for _, module in model.named_modules()] == states
    assert derive(model.train(), nn.MSELoss(), x, y, optim.Adam(0.1), steps=2).values == values, (
        "it trains all the same"
    )


def test_one_sample_and_many():
    x, y = rows(1, samples=60)
    cr.seed(0)
    model = double(nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5), nn.Linear(2, 1)))
    many = derive(model, nn.MSELoss(), x, y)
    assert len(many.values[0]["samples"]) == 60
    assert "sample 6" in many.to_markdown()
    assert "sample 7" not in many.to_markdown()
    one = derive(model, nn.MSELoss(), x[:1], y[:1]).values[0]
    assert one["samples"][0]["dC/d2.bias"] == one["update"]["gradient"]["2.bias"]


def test_a_parameter_that_the_cost_does_not_depend_on_has_gradient_zero():
    model = double(nn.Sequential(nn.Linear(3, 2), nn.Dropout(1.0), nn.Linear(2, 1)))
    derivation = derive(model, nn.MSELoss(), X, Y)
    assert derivation.values[0]["samples"][0]["dC/d0.weight"] == [[0.0] * 3] * 2
    assert "the cost does not depend on it" in derivation.to_markdown()


# ---- bad input


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"steps": 0}, ArgumentError, "steps: not an allowed value: expected an integer of at least 1, got 0"),
        ({"steps": 1.5}, ArgumentError, "steps: not an allowed value"),
        ({"optimizer": None, "steps": 2}, ArgumentError, "without an optimizer every step is the first one"),
        ({"optimizer": "adam"}, ArgumentError, "optimizer: not of the expected type: expected Optimizer, got str"),
        ({"model": lambda x: x}, ArgumentError, "model: not of the expected type: expected Module"),
        ({"model": nn.Tanh()}, ArgumentError, "there is nothing to train"),
        ({"loss": "mse"}, ArgumentError, "loss: not a loss"),
        (
            {"loss": nn.BCELoss("none")},
            ArgumentError,
            'loss: a training step needs a scalar loss: got reduction="none"',
        ),
        ({"loss": lambda p, t: p - t}, ShapeError, "the loss gives more than one number"),
        ({"loss": lambda p, t: cr.sum(p) * cr.sum(p * t)}, ArgumentError, "neither a mean nor a sum over the rows"),
        ({"x": X[:2]}, DataError, "x and y differ in length"),
        ({"x": X[:, :2]}, ShapeError, "the input's width does not fit"),
        ({"x": X[0]}, ShapeError, "x: not one row per sample"),
        ({"y": Y[:, 0]}, ShapeError, "the target does not fit the output"),
        ({"y": [["a"], ["b"], ["c"]]}, DataError, "y: not numbers"),
        ({"x": X * np.nan}, DataError, "x: not a finite number"),
        ({"loss": nn.CrossEntropyLoss(), "y": [0, 1, 2]}, DataError, "labels outside the model's classes"),
    ],
)
def test_a_wrong_request_is_named(change: dict[str, Any], error: type, said: str):
    request = {"model": exercise(), "loss": nn.BCELoss(), "x": X, "y": Y, "optimizer": optim.SGD(0.1), **change}
    with pytest.raises(error) as raised:
        derive(**request)
    assert isinstance(raised.value, ChainruleError)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_model_that_chooses_by_values_is_refused_with_a_way_out():
    class Chooses(nn.Module):
        def __init__(self) -> None:
            self.inner = nn.Linear(3, 1)

        def forward(self, x: Any) -> Any:
            return self.inner(x) if cr.sum(x) > 0 else -self.inner(x)

    with pytest.raises(TraceError, match="no graph that all samples share"):
        derive(Chooses(), nn.MSELoss(), X, Y)


def test_it_is_found_from_the_top():
    assert cr.explain.derive is derive
    assert isinstance(derive(exercise(), nn.BCELoss(), X, Y), Derivation)

"""Precisions and devices: training in bfloat16, and one line where the machine lacks what is asked of it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.backends import xla
from chainrule.backends.xla import compiler, devices
from chainrule.errors import ArgumentError
from small import QUIET, classifier, parameters, regressor, same, table

BACKENDS = ["numpy", "xla"]
X, Y = table()


def digits():
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.data / 16).astype(np.float32), found.target


# ---- bfloat16


def trained_on_digits(backend, precision):
    cr.seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    trainer = cr.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(3e-3), backend=backend, precision=precision)
    return trainer.fit(*digits(), epochs=5, validation=0.2, **QUIET)


def test_digits_trained_in_bfloat16_reach_the_loss_of_float32():
    exact = trained_on_digits("numpy", "float32")
    for backend in BACKENDS:
        lower = trained_on_digits(backend, "bfloat16")
        assert lower.step_loss[0] != exact.step_loss[0]
        assert lower.loss == pytest.approx(exact.loss, rel=0.01)
        assert lower.val_loss[-1] == pytest.approx(exact.val_loss[-1], rel=0.01)
        assert lower.metrics["val_accuracy"][-1] == pytest.approx(exact.metrics["val_accuracy"][-1], abs=0.01)


def test_weights_state_and_losses_stay_float32():
    trainer = classifier(precision="bfloat16")
    trainer.fit(X, Y, epochs=2, **QUIET)
    assert {p.dtype for p in trainer.model.parameters()} == {np.dtype(np.float32)}
    assert trainer.optimizer_state["mean"]["0.weight"].dtype == np.float32
    assert trainer.predict(X).dtype == np.float32
    weights = parameters(trainer)
    assert (weights.view(np.uint32) & 0xFFFF).any(), "the weights themselves were rounded"
    graph = trainer.step_graph(X, Y)
    assert {node.dtype.name for node in graph.nodes if node.dtype.kind == "f"} == {"float32"}


def test_all_of_training_evaluating_and_predicting_takes_its_products_in_bfloat16():
    exact, lower = classifier(), classifier(precision="bfloat16")
    assert "precision=bfloat16" in str(lower.step_graph(X, Y))
    assert "precision" not in str(exact.step_graph(X, Y))
    assert lower.evaluate(X, Y)["loss"] != exact.evaluate(X, Y)["loss"]
    assert lower.evaluate(X, Y)["loss"] == pytest.approx(exact.evaluate(X, Y)["loss"], rel=1e-2)
    np.testing.assert_allclose(lower.predict(X), exact.predict(X), atol=0.05)
    assert not np.array_equal(lower.predict(X), exact.predict(X))
    history = lower.fit(X, Y, epochs=1, validation=(X, Y), **QUIET)
    assert history.val_loss[-1] == pytest.approx(lower.evaluate(X, Y)["loss"], rel=1e-6)


def test_a_training_in_bfloat16_is_saved_loaded_and_resumed(tmp_path):
    whole = classifier(precision="bfloat16")
    whole.fit(X, Y, epochs=4, **QUIET)
    part = classifier(precision="bfloat16")
    part.fit(X, Y, epochs=2, checkpoint=tmp_path / "run", **QUIET)
    again = classifier(precision="bfloat16")
    again.fit(X, Y, epochs=4, checkpoint=tmp_path / "run", resume=True, **QUIET)
    assert same(whole, again)
    loaded = cr.Trainer.load(tmp_path / "run")
    assert loaded.precision == "bfloat16"
    np.testing.assert_array_equal(loaded.predict(X), again.predict(X))


def test_the_automatic_choice_knows_what_rounding_costs_on_numpy():
    from chainrule.backends.cost import seconds

    exact, lower = (regressor(precision=p).step_graph(X, X[:, :1]) for p in ("float32", "bfloat16"))
    assert seconds(lower, "numpy") > seconds(exact, "numpy")
    assert classifier(precision="bfloat16", backend="auto").fit(X, Y, epochs=1, **QUIET).backend == "numpy"


# ---- what the machine lacks


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_unknown_precision_or_device_is_refused_with_the_known_ones():
    with pytest.raises(ArgumentError, match=r"precision.*'bfloat16'.*'tf32'.*'float16'") as error:
        classifier(precision="float16")
    one_line(error)
    with pytest.raises(ArgumentError, match=r"device.*'cpu'.*'gpu'.*'auto'.*'cuda'") as error:
        classifier(device="cuda")
    one_line(error)


@pytest.fixture
def no_gpu(monkeypatch):
    import jax

    everything = jax.devices

    def devices(kind=None):
        if kind == "gpu":
            raise RuntimeError(
                "Unknown backend: 'gpu' requested, but no platforms that are instances of gpu are present."
            )
        return everything("cpu")

    monkeypatch.setattr(jax, "devices", devices)


def test_a_gpu_asked_for_and_absent_is_refused_before_anything_is_done(no_gpu):
    with pytest.raises(
        ArgumentError, match=r"device: .*expected gpu, got cpu; pip install 'chainrule\[cuda\]'"
    ) as error:
        classifier(backend="auto", device="gpu")
    one_line(error)


def test_where_the_plugin_does_not_start_its_reason_is_told(monkeypatch):
    import jax

    def devices(kind=None):
        raise RuntimeError("Unable to initialize backend 'cuda': no driver\nand more")

    monkeypatch.setattr(jax, "devices", devices)
    with pytest.raises(ArgumentError, match="got Unable to initialize backend 'cuda': no driver;") as error:
        classifier(backend="xla", device="gpu")
    one_line(error)


def test_the_interpreter_does_not_run_on_a_gpu():
    with pytest.raises(ArgumentError, match="NumPy"):
        classifier(backend="numpy", device="gpu")


@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
def test_tf32_is_refused_where_there_is_no_such_gpu(backend, no_gpu):
    trainer = classifier(backend=backend, precision="tf32")
    before = parameters(trainer)
    with pytest.raises(ArgumentError, match=r"precision: .*NVIDIA GPU.*got cpu") as error:
        trainer.fit(X, Y, **QUIET)
    one_line(error)
    assert np.array_equal(before, parameters(trainer))


def test_what_was_trained_in_tf32_predicts_without_such_a_gpu(no_gpu):
    compiled, interpreted = (classifier(backend=name, precision="tf32").predict(X) for name in ("xla", "numpy"))
    np.testing.assert_allclose(compiled, interpreted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(compiled, classifier(backend="xla").predict(X), atol=5e-3)


@pytest.mark.parametrize(
    ("platform", "capability", "lacks"),
    [("gpu", "9.0", ()), ("gpu", "7.5", ("tf32",)), ("gpu", "gfx90a", ("tf32",)), ("tpu", None, ("tf32", "float64"))],
)
def test_what_each_kind_of_device_lacks(platform, capability, lacks, monkeypatch):
    class Device:
        compute_capability = capability or ""

    Device.platform = platform
    monkeypatch.setattr(devices, "device", Device)
    for precision in ("float32", "bfloat16", "tf32", "float64"):
        assert (xla.lacking(precision) is not None) == (precision in lacks), precision


def test_a_gpu_is_not_given_options_for_a_cpu(monkeypatch):
    kinds = (compiler.GRAPH, compiler.LOOP, compiler.KERNEL)
    assert all(compiler.options(kind) for kind in kinds)
    monkeypatch.setattr(compiler, "device_name", lambda: "gpu")
    assert all(compiler.options(kind) == {} for kind in kinds)


def test_the_device_is_not_saved(tmp_path):
    trainer = classifier(device="cpu")
    trainer.save(tmp_path / "run")
    assert cr.Trainer.load(tmp_path / "run").device == "auto"


SECOND_DEVICE = """
import jax, numpy as np
from chainrule import backends
from chainrule.backends import xla
from chainrule.backends.xla import devices
from small import QUIET, classifier, table

second = jax.devices()[1]
xla.find_device = devices.find_device = lambda kind: second
seen = []
hold, get = xla.hold, xla.get
xla.hold = lambda arrays: [seen.append(a.devices()) or a for a in hold(arrays)]
xla.view = lambda arrays: [seen.append(a.devices()) or np.asarray(a) for a in arrays]
X, y = table()
trainer = classifier(backend="auto", device="gpu")
assert trainer.fit(X, y, epochs=2, validation=0.2, **QUIET).backend == "xla"
trainer.predict(X), trainer.evaluate(X, y)
assert len(seen) > 10 and set(map(frozenset, seen)) == {frozenset({second})}, seen
"""


def test_data_and_state_are_held_on_the_device_that_was_asked_for():
    root = Path(__file__).parents[2]
    environment = os.environ | {
        "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root / 'tests'}",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    done = subprocess.run([sys.executable, "-c", SECOND_DEVICE], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr

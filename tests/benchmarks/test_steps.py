"""The benchmark of a training step runs, and its peers do the same job."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def steps(*arguments):
    return subprocess.run(
        [sys.executable, BENCHMARKS / "steps.py", *map(str, arguments)], capture_output=True, text=True, timeout=300
    )


def test_one_round_gives_a_table_and_a_file(tmp_path):
    found = tmp_path / "steps.json"
    done = steps("--sizes", "S", "--rounds", 1, "--seconds", 0.01, "--peers", "chainrule-numpy,numpy", "--json", found)
    assert done.returncode == 0, done.stderr
    assert "| S 64-64-10, 32 | numpy |" in done.stdout
    report = json.loads(found.read_text())
    assert report["left_out"] == {}
    losses = {peer: report["sizes"]["S"][peer]["check"]["loss"] for peer in ("chainrule-numpy", "numpy")}
    assert losses["numpy"] == pytest.approx(losses["chainrule-numpy"], rel=0.02)


def test_an_unknown_peer_is_refused():
    done = steps("--peers", "numpi")
    assert done.returncode == 2
    assert "numpi" in done.stderr


@pytest.fixture
def peers(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import peers.task
    from peers import plain_numpy

    return peers.task, plain_numpy


def test_the_numpy_peer_takes_adams_steps(peers):
    import jax
    import jax.numpy as jnp

    task_module, plain_numpy = peers
    task = task_module.Task(task_module.Size((5, 4, 3), batch=6, rows=12, check_epochs=1))
    peer = plain_numpy.Peer(task)
    peer.train(2)

    def cost(weights, x, y):
        h = x
        for weight, bias in weights[:-1]:
            h = jnp.maximum(h @ weight.T + bias, 0)
        logits = h @ weights[-1][0].T + weights[-1][1]
        return -jax.nn.log_softmax(logits)[jnp.arange(len(y)), y].mean()

    (x, y), w = task.data, task.weights()
    m = v = jax.tree.map(np.zeros_like, w)
    for t, rows in enumerate([rows for epoch in range(2) for rows in task.order(epoch)], start=1):
        g = jax.grad(cost)(w, x[rows], y[rows])
        m = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
        v = jax.tree.map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)

        def stepped(w, m, v, t=t):
            return w - 1e-3 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)

        w = jax.tree.map(stepped, w, m, v)
    for found, wanted in zip(peer.weights(), w, strict=True):
        np.testing.assert_allclose(found[0], wanted[0], rtol=2e-4, atol=2e-6)
        np.testing.assert_allclose(found[1], wanted[1], rtol=2e-4, atol=2e-6)

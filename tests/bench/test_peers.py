"""The peers of the benchmark do the same job."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chainrule.bench import floor
from chainrule.bench.peer import Refused
from chainrule.bench.peers import chainrule_numpy, scikit_learn
from chainrule.bench.peers import numpy as plain_numpy
from chainrule.bench.task import BenchTask, Cell
from chainrule.bench.turns import reference_losses
from chainrule.bench.worker import Desk

CELL = Cell((5, 4, 3), batch=6, rows=12)


def test_the_numpy_peer_takes_adams_steps():
    task = BenchTask(CELL)
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
    for t, rows in enumerate([rows for epoch in (1, 2) for rows in task.order(epoch, shuffled=True)], start=1):
        g = jax.grad(cost)(w, x[rows], y[rows])
        m = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
        v = jax.tree.map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)

        def stepped(w, m, v, t=t):
            return w - 1e-3 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)

        w = jax.tree.map(stepped, w, m, v)
    for found, wanted in zip(peer.weights(), w, strict=True):
        np.testing.assert_allclose(found[0], wanted[0], rtol=2e-4, atol=2e-6)
        np.testing.assert_allclose(found[1], wanted[1], rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize("peer", [chainrule_numpy.Peer, scikit_learn.Peer])
def test_peers_reach_plain_numpys_loss(peer):
    desk = Desk(peer)
    desk.begin({"widths": CELL.widths, "batch": 6, "rows": 12})
    first, last = reference_losses(CELL)
    assert desk.check()["loss"] == pytest.approx(last, abs=1e-4 * (first - last))


@pytest.mark.torch
def test_pytorch_reaches_plain_numpys_loss():
    pytest.importorskip("torch")
    from chainrule.bench.peers import torch

    test_peers_reach_plain_numpys_loss(torch.Peer)


def test_a_peer_that_starts_from_other_weights_is_refused():
    class Elsewhere(plain_numpy.Peer):
        def prepare(self):
            super().prepare()
            self.flat[3] += 1e-6

    with pytest.raises(Refused, match="other weights"):
        Desk(Elsewhere).begin({"widths": CELL.widths, "batch": 6, "rows": 12})


def test_a_peer_without_the_precision_is_refused():
    with pytest.raises(Refused, match="bfloat16"):
        plain_numpy.Peer(BenchTask(Cell(CELL.widths, 6, 12, "bfloat16")))


def test_an_epoch_has_every_row_once_and_another_order_than_the_last():
    task = BenchTask(CELL)
    first, second = (task.order(epoch, shuffled=True) for epoch in (1, 2))
    assert first.shape == (2, 6)
    assert sorted(first.ravel()) == sorted(second.ravel()) == list(range(12))
    assert (first != second).any()


def test_every_class_occurs():
    assert set(BenchTask(Cell((2, 50), batch=50, rows=50)).data[1]) == set(range(50))


def test_the_floor_counts_a_steps_products_and_bytes():
    # 2-3-2 with a batch of 4: forward 4·2·3 + 4·3·2, weights the same, inputs of the second layer 4·2·3.
    needed = floor.cell_cost(Cell((2, 3, 2), batch=4, rows=4))
    assert needed["operations"] == 2 * (24 + 24 + 24 + 24 + 24)
    parameters = 2 * 3 + 3 + 3 * 2 + 2
    assert needed["bytes"] == 2 * 4 * 4 * parameters + 4 * 4 * 2


def test_the_floor_is_the_larger_of_its_two():
    found = floor.measure_floor(CELL)
    assert found["us"] == max(found["arithmetic_us"], found["bytes_us"]) > 0

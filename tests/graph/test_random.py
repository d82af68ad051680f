from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError
from chainrule.graph.random import keyed, shuffled

ROWS, WIDTH = 7, 9


def masks(key: Any, x: Any) -> Any:
    with keyed(key):
        return nn.Dropout(0.5)(x), nn.Dropout(0.5)(x)


def test_the_same_key_gives_the_same_mask_on_both_backends_and_in_both_precisions() -> None:
    drawn = []
    for dtype in (np.float32, np.float64):
        key, x = np.array([1, 2], np.uint32), np.ones((ROWS, WIDTH), dtype)
        graph = cr.trace(masks, key, x)
        drawn += [graph.run(key, x, backend=backend)[0] > 0 for backend in ("numpy", "xla")]
    assert all(np.array_equal(mask, drawn[0]) for mask in drawn[1:])


def test_each_use_and_each_key_draws_another_mask() -> None:
    x = cr.tensor(np.ones((ROWS, WIDTH)))
    first, second = masks(cr.tensor([1, 2], "uint32"), x)
    third, _ = masks(cr.tensor([1, 3], "uint32"), x)
    assert first.tolist() != second.tolist()
    assert first.tolist() != third.tolist()


def test_the_numbers_are_uniform_on_zero_to_one() -> None:
    from chainrule.graph.random import uniform

    with keyed(cr.tensor([7, 0], "uint32")):
        u = uniform(100_001, dtype=np.float64).numpy()
    assert u.min() >= 0
    assert u.max() < 1
    assert np.histogram(u, 10, (0, 1))[0] / len(u) == pytest.approx(np.full(10, 0.1), abs=0.005)


def test_the_words_are_those_of_the_published_generator() -> None:
    # Threefry-2x32-20's known answers, from the Random123 distribution (kat_vectors).
    from chainrule.backends.kernels import threefry

    def words(*numbers: int) -> tuple[np.ndarray, ...]:
        return tuple(np.array([n], np.uint32) for n in numbers)

    with np.errstate(over="ignore"):
        zero = threefry(np, words(0, 0), words(0, 0))
        pi = threefry(np, words(0x13198A2E, 0x03707344), words(0x243F6A88, 0x85A308D3))
    assert [int(word[0]) for word in zero] == [0x6B200159, 0x99BA4EFE]
    assert [int(word[0]) for word in pi] == [0xC4923A9C, 0x483DF7A0]


def test_an_order_is_a_permutation_that_seed_and_epoch_fix() -> None:
    order = shuffled(100, 3, 5)
    assert sorted(order.tolist()) == list(range(100))
    assert np.array_equal(order, shuffled(100, 3, 5))
    assert not np.array_equal(order, shuffled(100, 3, 6))
    assert not np.array_equal(order, shuffled(100, 4, 5))


@pytest.mark.parametrize("bad", [-1, 1.5, "one", None])
def test_a_seed_that_is_not_a_count_is_refused(bad: Any) -> None:
    with pytest.raises(ArgumentError, match=r"seed.*at least 0"):
        cr.seed(bad)


KEY = np.array([1, 2], np.uint32)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_kind_of_number_is_the_same_bits_on_both_backends(dtype: str) -> None:
    def drawn(key: Any) -> Any:
        draws = cr.random.normal((3, 1001), key, dtype=dtype), cr.random.uniform(1001, key, -1.0, 2.0, dtype=dtype)
        return *draws, cr.random.bernoulli(1001, key, 0.3), cr.random.permutation(1001, key)

    graph = cr.trace(drawn, KEY)
    for interpreted, compiled in zip(graph.run(KEY), graph.run(KEY, backend="xla"), strict=True):
        np.testing.assert_array_equal(interpreted, compiled)


def test_normal_numbers_are_normal() -> None:
    from scipy import stats

    drawn = cr.random.normal(200_000, key=3, mean=2.0, std=0.5).numpy()
    assert stats.kstest(drawn, "norm", (2.0, 0.5)).pvalue > 0.01
    assert np.isfinite(drawn).all()


def test_a_permutation_names_every_place_once_and_no_place_more_often_first() -> None:
    orders = np.array([cr.random.permutation(5, key=k).numpy() for k in range(2000)])
    assert (np.sort(orders, 1) == np.arange(5)).all()
    assert np.bincount(orders[:, 0]) == pytest.approx(np.full(5, 400), abs=80)


def test_a_share_of_a_bernoulli_draw_is_true() -> None:
    assert cr.random.bernoulli(100_000, key=1, p=0.3).numpy().mean() == pytest.approx(0.3, abs=0.005)
    assert not cr.random.bernoulli(1000, key=1, p=0.0).numpy().any()
    assert cr.random.bernoulli(1000, key=1, p=1.0).numpy().all()


def test_the_seed_decides_what_is_drawn_without_a_key() -> None:
    draws = []
    for number in (1, 1, 2):
        cr.seed(number)
        draws.append((cr.random.normal(3).tolist(), cr.random.normal(3).tolist()))
    assert draws[0] == draws[1] != draws[2]
    assert draws[0][0] != draws[0][1]


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_a_compiled_function_and_a_traced_graph_draw_anew_in_every_run(backend: str) -> None:
    noisy = cr.compile(lambda x: x + cr.random.normal(x.shape), backend=backend)
    graph = cr.trace(nn.Dropout(0.5), np.ones(64))
    x = np.ones(64)
    assert noisy(x).tolist() != noisy(x).tolist()
    assert noisy.structures == 1
    assert graph.run(x, backend=backend).tolist() != graph.run(x, backend=backend).tolist()
    cr.seed(5)
    first = noisy(x).tolist()
    cr.seed(5)
    assert noisy(x).tolist() == first


def test_the_gradient_of_a_graph_that_draws_is_that_of_the_same_numbers() -> None:
    drop = cr.compile(cr.value_and_grad(lambda x: nn.Dropout(0.5)(x).sum()), backend="numpy")
    y, g = drop(np.ones(64))
    assert y.item() == g.numpy().sum()


def test_each_example_drops_units_of_its_own_in_per_example_gradients() -> None:
    drop = nn.Dropout(0.5)
    g = cr.per_example_grad(lambda w, x: drop(w * x).sum(), batch=(1,))(np.ones(32), np.ones((6, 32))).numpy()
    assert set(np.unique(g)) == {0.0, 2.0}
    assert len({row.tobytes() for row in g}) == 6


def test_a_scan_that_drops_trains() -> None:
    drop = nn.Dropout(0.5)
    f = lambda w: cr.scan(lambda c, x: (drop(c * w) + x, None), cr.tensor(np.ones(16)), np.ones((3, 16)))[0].sum()  # noqa: E731
    assert np.isfinite(cr.compile(cr.grad(f), backend="numpy")(np.ones(16)).numpy()).all()
    assert np.isfinite(cr.grad(f)(np.ones(16)).numpy()).all()


@pytest.mark.parametrize("key", [-1, 1.5, np.ones(3), "x"])
def test_what_is_no_key_is_refused(key: Any) -> None:
    with pytest.raises(cr.ChainruleError, match="key"):
        cr.random.normal(2, key=key)


def test_threads_that_seed_draw_as_if_alone() -> None:
    from concurrent.futures import ThreadPoolExecutor

    def weights(number: int) -> bytes:
        cr.seed(number)
        return b"".join(nn.Linear(30, 30).weight.numpy().tobytes() for _ in range(20))

    alone = [weights(number) for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(weights, range(16))) == alone

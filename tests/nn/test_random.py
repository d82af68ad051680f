from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError
from chainrule.nn.random import keyed, shuffled

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
    from chainrule.nn.random import uniform

    with keyed(cr.tensor([7, 0], "uint32")):
        u = uniform(cr.tensor(np.zeros(100_001))).numpy()
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

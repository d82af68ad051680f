"""Streams: which rows are there to train on, and which are held out."""

import numpy as np
import pytest

from chainrule.data.rows import ArrayRows
from chainrule.data.streams import MOST_HELD, SplitSampler, Stream
from chainrule.errors import ChainruleError, DataError

ROWS = 1000
X = np.arange(2 * ROWS, dtype=np.float32).reshape(ROWS, 2)
Y = np.arange(ROWS) % 7


def made(chunk_rows=None, X=X, Y=Y):
    return Stream(ArrayRows(X, "X"), ArrayRows(Y, "y"), "numbers", chunk_rows)


def everything(stream):
    """All rows to train on, read in pieces that do not fit one another."""
    X, y = np.empty((stream.rows, 2), np.float32), np.empty(stream.rows, np.int32)
    for start in range(0, stream.rows, 37):
        stream.read(start, X[start : start + 37], y[start : start + 37])
    return X, y


def test_a_stream_has_all_rows_in_their_order():
    X_, y = everything(made())
    assert np.array_equal(X_, X)
    assert np.array_equal(y, Y)


def test_rows_held_out_and_rows_left_are_all_rows_once():
    left, [validation, nothing, test] = made().hold_out((0.1, 0.0, 0.25), seed=3)
    assert nothing is None
    assert left.rows + len(validation[0]) + len(test[0]) == ROWS
    assert 60 < len(validation[0]) < 140
    assert 200 < len(test[0]) < 300
    parts = [everything(left), validation, test]
    rows = np.concatenate([part[0] for part in parts])
    assert np.array_equal(rows[np.argsort(rows[:, 0])], X)
    for features, targets in parts:
        assert np.array_equal(features[:, 0] // 2 % 7, targets)


def test_holding_out_twice_leaves_out_both():
    once, [first] = made().hold_out((0.3,), seed=0)
    twice, [second] = once.hold_out((0.3,), seed=1)
    rows = np.concatenate([everything(twice)[0], first[0], second[0]])
    assert np.array_equal(rows[np.argsort(rows[:, 0])], X)
    assert once.rows + len(first[0]) == ROWS


def test_the_rows_held_out_follow_from_the_seed_and_come_from_everywhere():
    [(a, _)], [(b, _)], [(c, _)] = (made().hold_out((0.2,), seed)[1] for seed in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a[: len(c)], c[: len(a)])
    counts = np.histogram(a[:, 0], bins=5, range=(0, 2 * ROWS))[0]
    assert counts.min() > 15


def test_no_more_rows_are_held_out_than_a_chunk_has():
    left, [held] = made(chunk_rows=50).hold_out((0.5,), seed=0)
    assert 20 < len(held[0]) < 80
    assert left.rows == ROWS - len(held[0])
    assert made().most_held == MOST_HELD


def test_lots_are_the_same_however_the_rows_are_cut():
    whole = SplitSampler((0.2, 0.3), 100, 100, seed=5).draw(100)
    lots = SplitSampler((0.2, 0.3), 100, 100, seed=5)
    assert np.array_equal(whole, np.concatenate([lots.draw(n) for n in (1, 60, 39)]))
    assert set(whole) == {0, 1, 2}


@pytest.mark.parametrize(
    ("X", "Y", "message"),
    [
        (X, Y[:-1], "numbers: X and y differ in length: got 1000 rows, 999 targets"),
        (X[:0], Y[:0], "numbers: there are no rows"),
        (X.astype(str), Y, "X: not numbers"),
        (X, np.array(3.0), "y: not rows"),
    ],
)
def test_what_cannot_be_streamed_is_named(X, Y, message):
    with pytest.raises(DataError, match=message):
        made(X=X, Y=Y)


@pytest.mark.parametrize("rows", [0, -1, 2.5, "many"])
def test_chunk_rows_is_a_whole_number_of_at_least_1(rows):
    with pytest.raises(ChainruleError, match="chunk_rows: not an allowed value: expected an integer of at least 1"):
        made(rows)


def test_nothing_left_to_train_on_is_an_error():
    with pytest.raises(DataError, match="no rows are left"):
        made(X=X[:1], Y=Y[:1]).hold_out((1.0,), seed=0)


def test_a_stream_is_not_taken_for_an_array():
    with pytest.raises(DataError, match="a stream is no array"):
        np.asarray(made())


def test_a_stream_says_what_it_is():
    assert repr(made()) == "<Stream numbers: 1,000 rows of 2 numbers>"

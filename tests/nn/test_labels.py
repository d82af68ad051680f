"""Class labels: any integer dtype, checked, some of them ignored; numbers from torch.nn.functional in float64."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import OutOfRangeError

LOGITS = np.array([[1.0, 2.0, 3.0], [0.0, -1.0, 5.0], [0.5, 0.25, -2.0]])
SOME_IGNORED = np.array([-100, 2, 0])
SLOPES = [
    [0.0, 0.0, 0.0],
    [0.006676412513376452, 0.002456114904450954, -0.00913252741782744],
    [-0.4626215053946082, 0.41851079240441186, 0.044110712990196387],
]
SMOOTH_SLOPES = [
    [0.0, 0.0, 0.0],
    [-0.02665692081995688, -0.03087721842888238, 0.05753413924883921],
    [-0.39595483872794157, 0.38517745907107853, 0.010777379656863054],
]


def every_way(f, *xs):
    """f's value and its gradient by the first operand: define-by-run, interpreted, compiled."""

    def both(x, *rest):
        return f(x, *rest), cr.grad(lambda x: f(x, *rest).sum())(x)

    return [[y.numpy() for y in way(*xs)] for way in (both, *(cr.compile(both, backend=b) for b in ("numpy", "xla")))]


@pytest.mark.parametrize(
    ("reduction", "smoothing", "value", "share"),
    [
        ("mean", 0.0, 0.3151135428373975, 0.5),
        ("sum", 0.0, 0.630227085674795, 1.0),
        ("none", 0.0, [0.0, 0.009174484591734727, 0.6210526010830603], 1.0),
        ("mean", 0.1, 0.5442802095040642, 0.5),
        ("none", 0.1, [0.0, 0.3758411512584014, 0.7127192677497269], 1.0),
    ],
)
def test_ignored_rows_count_for_nothing_as_in_pytorch(reduction, smoothing, value, share):
    loss = cr.nn.CrossEntropyLoss(reduction, smoothing)
    for y, slope in every_way(loss, cr.tensor(LOGITS), SOME_IGNORED):
        np.testing.assert_allclose(y, value, rtol=1e-12)
        np.testing.assert_allclose(slope, share * np.array(SMOOTH_SLOPES if smoothing else SLOPES), rtol=1e-12)


@pytest.mark.parametrize(("reduction", "value"), [("mean", 0.3151135428373975), ("sum", 0.630227085674795)])
def test_the_negative_log_likelihood_ignores_rows_too(reduction, value):
    share = 0.5 if reduction == "mean" else 1.0
    for y, slope in every_way(cr.nn.NLLLoss(reduction), cr.log_softmax(LOGITS), SOME_IGNORED):
        assert y == pytest.approx(value, rel=1e-12)
        assert slope.tolist() == [[0.0, 0.0, 0.0], [0.0, 0.0, -share], [-share, 0.0, 0.0]]


def test_another_label_can_be_the_one_to_ignore():
    for loss in (cr.nn.CrossEntropyLoss("none", ignore_index=2), cr.nn.NLLLoss("none", ignore_index=2)):
        for y, slope in every_way(loss, cr.log_softmax(LOGITS), np.array([0, 2, 1])):
            assert y[1] == 0.0
            assert y[0] > 0.0
            assert not slope[1].any()
    assert "ignore_index=2" in repr(cr.nn.NLLLoss(ignore_index=2))


def test_a_row_that_is_ignored_may_hold_anything():
    for loss in (cr.nn.CrossEntropyLoss(), cr.nn.NLLLoss()):
        for y, slope in every_way(loss, cr.tensor([[np.inf, np.nan], [0.0, -1.0]]), np.array([-100, 0])):
            assert np.isfinite(y)
            assert slope[0].tolist() == [0.0, 0.0]
            assert np.isfinite(slope).all()


def test_a_log_probability_of_minus_infinity_elsewhere_does_no_harm():
    for y, slope in every_way(cr.nn.NLLLoss(), cr.tensor([[0.0, -np.inf]]), np.array([0])):
        assert y == 0.0
        assert slope.tolist() == [[-1.0, 0.0]]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_labels_of_any_whole_number_dtype_are_compared_without_wrapping(dtype):
    x = np.random.default_rng(0).standard_normal((2, 70_000))
    labels = np.array([44, 127], dtype)
    expected = np.log(np.exp(x).sum(1)) - x[[0, 1], labels.astype(int)]
    for y, slope in every_way(cr.cross_entropy, cr.tensor(x), labels):
        np.testing.assert_allclose(y, expected, rtol=1e-12)
        assert np.argwhere(slope < 0).tolist() == [[0, 44], [1, 127]]
    assert np.argwhere(cr.one_hot(labels, 70_000).numpy()).tolist() == [[0, 44], [1, 127]]
    np.testing.assert_allclose(cr.nn.NLLLoss("none")(x, labels).numpy(), -x[[0, 1], labels.astype(int)])


@pytest.mark.parametrize("bad", [3, -1, -99, 2**40])
@pytest.mark.parametrize(
    "f",
    [
        cr.cross_entropy,
        cr.nn.CrossEntropyLoss(),
        cr.nn.NLLLoss("sum"),
        lambda x, labels: (cr.one_hot(labels, 3) * x).sum(),
    ],
)
def test_a_label_outside_the_classes_is_refused_and_its_row_named(f, bad):
    labels = np.array([0, 2, bad])
    for way in (f, *(cr.compile(f, backend=b) for b in ("numpy", "xla"))):
        with pytest.raises(OutOfRangeError, match=f"label: outside its range: expected 0…2, got {bad} in row 2"):
            way(cr.tensor(LOGITS), labels)


def test_one_hot_has_no_place_for_an_ignored_label():
    with pytest.raises(OutOfRangeError, match="got -100 in row 1"):
        cr.one_hot([0, -100], 3)

"""Paths over surfaces, against loops in plain NumPy and in SciPy's own functions; and their pictures."""

import re
from typing import Any

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

import chainrule as cr
from chainrule import optim
from chainrule.errors import ArgumentError, ChainruleError, DataError, RunError, ShapeError
from chainrule.explain import paths
from chainrule.explain.surfaces import NAMED, surface_of


def bowl(x: Any, y: Any) -> Any:
    return x**2 + 3.0 * y**2


def test_momentums_path_is_the_loop_in_numpy():
    found = paths({"m": optim.SGD(0.002, momentum=0.9)}, "rosenbrock", [-1.2, 1.0], 50)
    w, v = np.array([-1.2, 1.0]), np.zeros(2)
    for point, loss in zip(found.points["m"], found.values["m"], strict=True):
        assert np.allclose(point, w, rtol=1e-12)
        assert np.isclose(loss, rosen(w), rtol=1e-11)
        v = 0.9 * v - 0.002 * rosen_der(w)
        w = w + v


def test_adams_path_is_the_loop_in_numpy():
    found = paths([optim.Adam(0.1)], bowl, [2.0, -1.0], 30)
    w, m, s = np.array([2.0, -1.0]), np.zeros(2), np.zeros(2)
    for t, point in enumerate(found.points["Adam"], start=1):
        assert np.allclose(point, w, rtol=1e-10)
        g = np.array([2.0, 6.0]) * w
        m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g**2
        w = w - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)


@pytest.mark.parametrize("name", NAMED)
def test_a_named_surface_is_lowest_at_its_minima(name: str):
    surface = NAMED[name]
    x0, x1, y0, y1 = surface.region
    grid = np.stack(np.meshgrid(np.linspace(x0, x1, 41), np.linspace(y0, y1, 41)), axis=-1).reshape(-1, 2)
    lowest = surface.heights(np.array(surface.minima))
    assert np.ptp(lowest) < 1e-12
    assert np.all(surface.heights(grid) >= lowest[0] - 1e-12)
    assert np.all(np.linalg.norm([cr.grad(surface.height)(cr.tensor(m)).numpy() for m in surface.minima]) < 1e-9)


def test_the_surfaces_heights_are_the_functions_values():
    points = np.random.default_rng(0).normal(size=(20, 2))
    assert np.allclose(NAMED["rosenbrock"].heights(points), [rosen(point) for point in points], rtol=1e-12)

    def chooses(x: Any, y: Any) -> Any:
        return x**2 if x > 0 else y**2

    expected = [x**2 if x > 0 else y**2 for x, y in points]
    assert np.allclose(surface_of(chooses).heights(points), expected, rtol=1e-12)


def test_a_function_of_one_vector_and_one_that_chooses_by_values_work():
    vector = paths([optim.SGD(0.1)], lambda w: cr.sum(w**2 * np.array([1.0, 3.0])), [2.0, 1.0], 10)
    pair = paths([optim.SGD(0.1)], bowl, [2.0, 1.0], 10)
    assert np.allclose(vector.points["SGD"], pair.points["SGD"], rtol=1e-12)
    bent = paths(
        [optim.SGD(0.1)], lambda x, y: cr.sum(x**2 + y**2) if x > 1 else cr.sum(4 * x**2 + y**2), [2.0, 1.0], 10
    )
    w = np.array([2.0, 1.0])
    for point in bent.points["SGD"]:
        assert np.allclose(point, w, rtol=1e-12)
        w = w - 0.1 * np.array([2.0 if w[0] > 1 else 8.0, 2.0]) * w


def test_several_starts_and_optimizers_of_one_kind():
    found = paths([optim.SGD(0.1), optim.SGD(0.05), optim.Adam(0.1)], bowl, [[1.0, 1.0], [-1.0, 2.0]], 5)
    assert list(found.points) == ["SGD", "SGD 2", "Adam"]
    assert found.points["SGD 2"].shape == (2, 6, 2)
    assert found.values["Adam"].shape == (2, 6)
    alone = paths(optim.SGD(0.05), bowl, [-1.0, 2.0], 5)
    assert np.array_equal(found.points["SGD 2"][1], alone.points["SGD"])
    assert found.diverged == {"SGD": [False, False], "SGD 2": [False, False], "Adam": [False, False]}


def test_an_optimizer_that_needs_the_objective_gets_it():
    found = paths([optim.LBFGS()], "beale", [1.0, 1.0], 30)
    assert np.allclose(found.points["LBFGS"][-1], [3.0, 0.5], atol=1e-6)


def test_what_diverges_ends_and_is_named_in_the_picture(tmp_path: Any):
    found = paths({"calm": optim.SGD(0.1), "wild": optim.SGD(5.0)}, bowl, [1.0, 1.0], 40)
    assert found.diverged == {"calm": False, "wild": True}
    lost = np.isnan(found.values["wild"])
    assert lost[-1]
    assert not lost[:3].any()
    assert np.array_equal(lost, np.isnan(found.points["wild"]).all(1))
    svg = found.to_svg(tmp_path / "wild.svg").read_text(encoding="utf-8")
    assert "wild (diverges)" in svg
    page = found.to_html(tmp_path / "wild.html").read_text(encoding="utf-8")
    assert f"diverges after {int((~lost).sum()) - 1}" in page
    assert limits(found)[1] < 10, "the calm path is not made a dot"


def test_what_leaves_the_picture_is_named(tmp_path: Any):
    found = paths({"slides": optim.SGD(1.0)}, lambda x, y: -x + 0.0 * y, [0.0, 0.5], 30)
    assert not found.diverged["slides"]
    assert "slides (leaves the picture)" in found.to_svg(tmp_path / "slide.svg").read_text(encoding="utf-8")


def limits(found: Any) -> tuple[float, float]:
    from chainrule.explain.style import new_figure

    figure = new_figure()
    found.draw(figure)
    return figure.axes[0].get_xlim()


def test_the_picture_can_be_read_without_colour(tmp_path: Any):
    from chainrule.explain.style import new_figure

    chosen = {"SGD": optim.SGD(0.02), "momentum": optim.SGD(0.02, momentum=0.9), "Adam": optim.Adam(0.1)}
    found = paths(chosen, "quadratic", [-3.0, 1.5], 40)
    figure = new_figure(12.0, 5.2)
    found.draw(figure)
    left, right = figure.axes
    assert left.get_xlabel() == "x (first parameter)"
    assert right.get_xlabel() == "update"
    assert right.get_ylabel() == "loss L"
    for axes in (left, right):
        curves = [line for line in axes.get_lines() if line.get_label() in chosen]
        assert len({str((line.get_marker(), line._dash_pattern)) for line in curves}) == len(chosen)
    assert {label.get_text() for label in left.texts} >= set(chosen), "the ends are labelled"
    svg = found.to_svg(tmp_path / "deep" / "paths.svg").read_text(encoding="utf-8")
    assert svg == found.to_svg(tmp_path / "again.svg").read_text(encoding="utf-8")
    page = found.to_html(tmp_path / "paths.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|<script", page)
    assert all(name in page for name in chosen)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"optimizers": []}, ArgumentError, "optimizers: not optimizers: expected a dict such as"),
        ({"optimizers": {"a": "adam"}}, ArgumentError, "optimizers: not optimizers"),
        ({"optimizers": 3}, ArgumentError, "optimizers: not optimizers"),
        ({"surface": "quadratik"}, ArgumentError, "surface: unknown value: expected one of 'quadratic'"),
        ({"surface": 3}, ArgumentError, "surface: not a surface"),
        ({"surface": lambda x, y, z: x}, ArgumentError, "surface: not a function of two numbers"),
        ({"surface": lambda w: w}, ShapeError, "surface surface: it does not return one real number"),
        ({"start": [1.0]}, ShapeError, "start: not points in the plane: expected (2,) or (K, 2)"),
        ({"start": "here"}, DataError, "start: not numbers"),
        ({"start": [np.nan, 0.0]}, DataError, "not a finite point"),
        ({"surface": lambda x, y: cr.log(x) + y}, DataError, "start (-1, 1): the surface is not finite there"),
        ({"steps": 0}, ArgumentError, "steps: not an allowed value: expected an integer of at least 1, got 0"),
    ],
)
def test_a_wrong_request_is_named(change: dict[str, Any], error: type, said: str):
    request = {"optimizers": [optim.SGD(0.1)], "surface": bowl, "start": [-1.0, 1.0], "steps": 2, **change}
    with pytest.raises(error) as raised:
        paths(**request)
    assert isinstance(raised.value, ChainruleError)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Any):
    (tmp_path / "file").write_text("")
    found = paths([optim.SGD(0.1)], bowl, [1.0, 1.0], 2)
    for write in (found.to_svg, found.to_html):
        with pytest.raises(RunError, match="cannot be written"):
            write(tmp_path / "file" / "page")

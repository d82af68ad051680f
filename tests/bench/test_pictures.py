"""The pictures name every curve at its end, and no name hides another."""

import itertools

import pytest

from chainrule.bench import pictures
from chainrule.bench.task import Cell
from chainrule.bench.turns import CellResult, PeerResult


@pytest.fixture
def cells():
    """Three widths; three peers within a per cent of each other, and one far away that stops early."""
    found = []
    for width in (16, 64, 256):
        times = {"chainrule": 10.0, "torch": 10.05, "numpy": 10.1} | ({"keras": 900.0} if width < 200 else {})
        peers = {
            peer: PeerResult(1.0, True, 0.0, 0.0, epochs=2, us=[us * width], call_s=[us * width])
            for peer, us in times.items()
        }
        found.append(CellResult(Cell((width, width, 10), 128, 1280), 2.0, 1.0, peers, [{"us": 0.1 * width}]))
    return found


def test_each_curve_is_named_once_and_names_keep_apart(cells):
    (axes,) = pictures.figure(pictures.PICTURES["width"], cells).axes
    names = {text.get_text(): text for text in axes.texts}
    assert set(names) == {"chainrule", "torch", "numpy", "keras", "floor"}
    assert names.pop("keras").xy[0] == 64
    heights = {name: text.xyann[1] for name, text in names.items()}
    ordered = sorted(heights.values())
    assert min(b - a for a, b in itertools.pairwise(ordered)) > 0.999 * pictures.GAP
    assert heights["chainrule"] < heights["torch"] < heights["numpy"]


def test_curves_can_be_told_apart_without_colour(cells):
    (axes,) = pictures.figure(pictures.PICTURES["batch"], cells).axes
    looks = {(line.get_marker(), line.get_linestyle(), line.get_linewidth()) for line in axes.get_lines()}
    assert len(looks) == len(axes.get_lines()) == 4


def test_a_series_of_two_cells_is_drawn(cells, tmp_path):
    series = {"width": dict(enumerate(cells)), "batch": {"one": cells[0]}}
    assert pictures.draw_series(series, tmp_path) == [tmp_path / "width.png"]
    assert (tmp_path / "width.png").read_bytes().startswith(b"\x89PNG")


def test_names_stay_within_the_picture_and_near_their_curves():
    assert pictures.spread([0.2, 0.5, 0.8]) == pytest.approx([0.2, 0.5, 0.8])
    assert pictures.spread([0.99, 0.99]) == pytest.approx([1.0 - pictures.GAP, 1.0])
    assert pictures.spread([0.5, 0.5]) == pytest.approx([0.5 - pictures.GAP / 2, 0.5 + pictures.GAP / 2])

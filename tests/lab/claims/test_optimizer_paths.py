import numpy as np
import pytest

import chainrule as cr
from chainrule.lab.claims import optimizer_paths as lab

BOWL = lab.SURFACES["bowl"]


def test_a_straight_way_has_no_detour_and_a_corner_has_its_own():
    straight = np.stack([np.linspace(2.0, 0.0, 9), np.linspace(1.0, 0.0, 9)], 1)
    assert lab._path(BOWL, straight)[:2] == (pytest.approx(0.0, abs=1e-12), 0.0)
    corner = np.array([[3.0, 4.0], [3.0, 0.0], [0.0, 0.0]])
    assert lab._path(BOWL, corner)[0] == pytest.approx(7 / 5 - 1)


def test_rises_of_the_loss_count_against_its_start_and_slow_ends_as_such():
    # Heights 8, 2, 4.5, 0 of x²/2: one rise of 2.5.
    there_and_back = np.array([[4.0, 0.0], [2.0, 0.0], [-3.0, 0.0], [0.0, 0.0]])
    assert lab._path(BOWL, there_and_back)[1] == pytest.approx(2.5 / 8)
    ever_slower = np.stack([np.array([4.0, 2.0, 1.5, 1.0, 0.5, 0.0]), np.zeros(6)], 1)
    assert lab._path(BOWL, ever_slower)[2] == pytest.approx(4 / 1)


def test_neighbours_are_counted_along_both_axes():
    assert lab.parted(np.zeros((4, 4))) == 0.0
    assert lab.parted(np.indices((4, 4)).sum(0) % 2) == 1.0
    halves = np.zeros((4, 4))
    halves[:, 2:] = 1
    assert lab.parted(halves) == pytest.approx(1 / 6)


@pytest.mark.parametrize("name", lab.SURFACES)
def test_the_minima_are_minima(name):
    surface = lab.SURFACES[name]
    x, y = np.array(surface.minima, dtype=float).T
    slopes = cr.grad(lambda x, y: cr.sum(surface.height(x, y)), argnums=(0, 1))(x, y)
    assert max(np.abs(slope.numpy()).max() for slope in slopes) < 1e-5
    assert surface.height(*surface.grid(41)).min() >= surface.height(x, y).max() - 1e-9


def test_starts_walked_together_go_as_they_would_alone():
    optimizer = cr.optim.Adam(0.04)
    together = lab.walk(BOWL, optimizer, BOWL.ring(), 20)
    alone = lab.walk(BOWL, optimizer, BOWL.ring()[:, 5:6], 20)
    np.testing.assert_allclose(together[..., 5:6], alone, rtol=1e-12)

import numpy as np
import pytest

from chainrule.lab.claims import schedules as lab


@pytest.mark.parametrize("rate", [0.01, 0.5, 1.0, 1.7])
def test_the_floor_is_where_the_recursion_ends(rate):
    assert lab.foretold(np.full(5000, rate))[-1] == pytest.approx(lab.floor(rate), rel=1e-9)


def test_every_schedule_of_the_lab_ends_below_where_it_begins():
    for name, schedule in lab.decreasing().items():
        factors = lab.factors(schedule)
        assert factors[-1] < 0.1, name
        assert factors.max() == pytest.approx(1.0), name

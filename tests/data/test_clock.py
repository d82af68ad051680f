"""Dates and times come back from whichever way they were written in."""

import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.data.clock import ClockFormat, find_clock

EPOCH = datetime.datetime(1970, 1, 1)
moments = st.lists(
    st.datetimes(datetime.datetime(1980, 1, 1), datetime.datetime(2049, 1, 1)), min_size=1, max_size=20, unique=True
)
DATES = ["%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%y", "%m/%d/%Y", "%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%B %d, %Y"]
TIMES = ["", " %H:%M", "T%H:%M:%S", " %H:%M:%S.%f", " %I:%M %p"]


@given(moments, st.sampled_from(DATES), st.sampled_from(TIMES))
@settings(deadline=None)
def test_a_format_reads_back_what_it_wrote(values, date, time):
    format_ = f"{date}{time}"
    texts = pl.Series([value.strftime(format_) for value in values])
    found = ClockFormat("moment", format_.replace(":%S.%f", ":%S%.f").replace(":%S", ":%S%.f").replace("%.f%.f", "%.f"))
    expected = [(datetime.datetime.strptime(text, format_) - EPOCH) / datetime.timedelta(days=1) for text in texts]
    assert found.read(texts) == pytest.approx(expected, abs=1e-9)


@given(moments, st.sampled_from(DATES), st.sampled_from(TIMES))
@settings(deadline=None)
def test_a_format_that_reads_all_is_found(values, date, time):
    texts = pl.Series(sorted({value.strftime(f"{date}{time}") for value in values}))
    found = find_clock(texts, np.ones(len(texts)))
    assert found is not None
    assert not np.isnan(found.values).any()
    if found.ambiguous is None:
        expected = [
            (datetime.datetime.strptime(text, f"{date}{time}") - EPOCH) / datetime.timedelta(days=1) for text in texts
        ]
        assert found.values == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.text(max_size=12), min_size=1, max_size=5, unique=True))
def test_any_text_is_a_finite_time_or_none(texts):
    found = find_clock(pl.Series(texts), np.ones(len(texts)))
    assert found is None or not np.isinf(found.values).any()


@pytest.mark.parametrize(
    ("text", "zone"),
    [("2024-03-01T10:00:00+02:00", 2), ("2024-03-01T10:00:00Z", 0), ("2024-03-01 10:00:00.5 -0530", -5.5)],
)
def test_zones_count(text, zone):
    found = find_clock(pl.Series([text]), np.ones(1))
    day = (datetime.datetime(2024, 3, 1, 10) - EPOCH) / datetime.timedelta(days=1)
    assert found.values[0] == pytest.approx(day - zone / 24, abs=1e-5)


@pytest.mark.parametrize(
    "text", ["12.5", "1-2", "shop 5", "2024", "20240301", "99:99", "2024-13-01", "31.02.2024x", ""]
)
def test_what_is_no_time_is_none(text):
    found = find_clock(pl.Series([text]), np.ones(1))
    assert found is None or np.isnan(found.values).all()


def test_months_are_dates():
    assert find_clock(pl.Series(["1970-02", "1970-03"]), np.ones(2)).values.tolist() == [31, 59]

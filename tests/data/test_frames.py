"""Data frames taken in with their names and types."""

import datetime

import numpy as np
import polars as pl
import pytest
import scipy.sparse

from chainrule.data import Preprocessor, Source
from chainrule.errors import DataError


def test_a_polars_frame_is_taken_as_it_is():
    frame = pl.DataFrame({"a": [1, None], "b": ["x", "y"]})
    assert Source.of_frame(frame).frame is frame
    assert Source.of_frame(frame.lazy()).frame.equals(frame)


@pytest.mark.parametrize("kind", ["csr_matrix", "csc_array"])
def test_sparse_input_is_refused_by_name(kind):
    with pytest.raises(DataError, match=rf"table: sparse input is not taken: got {kind}; give a dense array"):
        Source.of_frame(getattr(scipy.sparse, kind)(np.eye(3)))


@pytest.mark.parametrize("other", [5, np.zeros((2, 2)), {"a": [1]}, None])
def test_what_is_no_frame_is_refused(other):
    with pytest.raises(DataError, match="not a data frame: expected one of pandas or polars"):
        Source.of_frame(other)


def test_a_pandas_frame_keeps_names_and_types():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {
            "whole": [1, 2, 3],
            "float": [1.5, np.nan, 2],
            "bool": [True, False, True],
            "text": ["x", None, "y"],
            "category": pd.Categorical(["u", None, "v"]),
            "Int64": pd.array([1, None, 3], dtype="Int64"),
            "boolean": pd.array([True, None, False], dtype="boolean"),
            "date": pd.to_datetime(["2020-01-01", None, "2020-01-03"]),
            "zoned": pd.to_datetime(["2020-01-01", None, "2020-01-03"]).tz_localize("Europe/Berlin"),
            "span": pd.to_timedelta(["1h", None, "2h"]),
            "objects": pd.Series([1, None, 2.5], dtype=object),
            "dates": pd.Series([datetime.date(2020, 1, 1), None, datetime.date(2020, 1, 2)], dtype=object),
            "sparse": pd.arrays.SparseArray([0, 0, 1]),
            7: [1, 2, 3],
        }
    )
    found = Source.of_frame(frame).frame
    assert found.columns == [str(name) for name in frame.columns]
    assert found.null_count().row(0) == (0, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0)
    kinds = [pl.Int64, pl.Float64, pl.Boolean, pl.String, pl.Categorical, pl.Int64, pl.Boolean]
    assert found.dtypes[:7] == kinds
    assert found["zoned"][0] == datetime.datetime(2019, 12, 31, 23)
    assert found["span"][2] == datetime.timedelta(hours=2)
    assert found["dates"][2] == datetime.datetime(2020, 1, 2)
    with pytest.raises(DataError, match="column names that occur twice: got 'a'"):
        Source.of_frame(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_a_pandas_frame_is_learnt_as_the_polars_one():
    pd = pytest.importorskip("pandas")
    columns = {"a": [i % 7 + 0.5 for i in range(40)], "b": list("xyzw") * 10, "y": ["p", "q"] * 20}
    frames = [Source.of_frame(kind(columns)) for kind in (pd.DataFrame, pl.DataFrame)]
    made = [Preprocessor.fit(frame, "y") for frame in frames]
    assert made[0].to_dict() == made[1].to_dict()
    assert made[0].transform(frames[0]).tobytes() == made[1].transform(frames[1]).tobytes()

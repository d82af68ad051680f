from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule import tree


class Pair(NamedTuple):
    left: object
    right: object


class Box:
    """Counts as the dict of its parts, as a module does."""

    def __init__(self, **parts):
        self.parts = parts

    def tree_children(self):
        return self.parts

    def tree_rebuild(self, parts):
        return Box(**parts)


leaves = st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
trees = st.recursive(
    leaves | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
        | st.builds(Pair, inner, inner)
    ),
    max_leaves=12,
)


@given(trees)
def test_unflatten_undoes_flatten(nested):
    flat, structure = tree.flatten(nested)
    assert structure.size == len(flat)
    assert tree.unflatten(structure, flat) == nested


@given(trees)
def test_every_leaf_has_one_name(nested):
    names = tree.names(nested)
    assert len(names) == len(tree.flatten(nested)[0])


@given(trees)
def test_equal_structures_are_equal_and_hash_alike(nested):
    first, second = tree.flatten(nested)[1], tree.flatten(nested)[1]
    assert first == second
    assert hash(first) == hash(second)


def test_names_are_the_path_to_the_leaf():
    assert tree.names({"0": {"weight": 1, "bias": 2}, "rest": (3, None, {"x": 4})}) == [
        "0.weight",
        "0.bias",
        "rest.0",
        "rest.2.x",
    ]
    assert tree.names(7) == [""]


def test_a_list_of_plain_numbers_is_one_leaf_and_a_tuple_is_not():
    assert len(tree.flatten([[1.0, 2.0], [3.0, 4.0]])[0]) == 1
    assert len(tree.flatten((1.0, 2.0))[0]) == 2
    assert len(tree.flatten([np.ones(2), np.ones(3)])[0]) == 2


def test_named_tuples_stay_named():
    assert tree.map(lambda x: x + 1, Pair(1, (2, 3))) == Pair(2, (3, 4))


def test_an_object_with_children_counts_as_the_dict_of_them():
    box = Box(a=1, b=2)
    flat, structure = tree.flatten({"box": box})
    assert flat == [1, 2]
    assert tree.names({"box": box}) == ["box.a", "box.b"]
    assert tree.unflatten(structure, [3, 4])["box"].parts == {"a": 3, "b": 4}
    assert tree.map(lambda x: -x, {"box": box}) == {"box": {"a": -1, "b": -2}}


def test_map_walks_several_trees_in_step_and_refuses_unequal_ones():
    assert tree.map(lambda a, b: a * b, {"w": 2, "b": (3,)}, {"w": 5, "b": (7,)}) == {"w": 10, "b": (21,)}
    with pytest.raises(ValueError, match="zip"):
        tree.map(lambda a, b: a, {"w": 1, "b": 2}, {"w": 1})


def test_the_wrong_number_of_leaves_is_our_own_mistake():
    with pytest.raises(AssertionError, match="2 leaves wanted, 1 given"):
        tree.unflatten(tree.flatten((1, 2))[1], [1])

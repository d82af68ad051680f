"""Flatten, map and name the leaves of nested parameters.

A *tree* is any nesting of tuples, lists and dicts; whatever is not one of these is a leaf, a list of plain numbers is
a leaf too (an array that NumPy can read), and `None` is an empty tree. An object may ask to be seen as a dict by having
two methods, `tree_children() -> dict` and `tree_rebuild(dict) -> object`; a `Module` does, so that it counts as the
dict of its parameters by path.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Structure:
    """The shape of a tree without its leaves: hashable, so that programs can be kept by it."""

    kind: type | None
    keys: tuple[Any, ...]
    children: tuple[Structure, ...]
    owner: Any = None

    @functools.cached_property
    def size(self) -> int:
        """How many leaves the tree has."""
        return 1 if self is LEAF else sum(child.size for child in self.children)

    def owners(self) -> list[Any]:
        """The objects that asked to be seen as dicts."""
        inside = [owner for child in self.children for owner in child.owners()]
        return inside if self.owner is None else [self.owner, *inside]

    def plain(self) -> Structure:
        """The same structure with every object seen as the dict of its parameters."""
        if self is LEAF:
            return LEAF
        children = tuple(child.plain() for child in self.children)
        return Structure(dict if self.owner is not None else self.kind, self.keys, children)


LEAF = Structure(object, (), ())
_EMPTY = Structure(None, (), ())


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """The leaves of a tree in order, and the structure that `unflatten` needs.

    Example:
        >>> leaves, structure = flatten({"w": 1, "b": (2, 3)})
        >>> leaves
        [1, 2, 3]
        >>> unflatten(structure, [10, 20, 30])
        {'w': 10, 'b': (20, 30)}
    """
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves)


def _flatten(tree: Any, leaves: list[Any]) -> Structure:
    if tree is None:
        return _EMPTY
    if isinstance(tree, (tuple, list)) and not _is_array(tree):
        return Structure(type(tree), (), tuple(_flatten(child, leaves) for child in tree))
    if isinstance(tree, dict):
        return Structure(dict, tuple(tree), tuple(_flatten(child, leaves) for child in tree.values()))
    if hasattr(tree, "tree_children"):
        children = tree.tree_children()
        leaves.extend(children.values())
        return Structure(type(tree), tuple(children), (LEAF,) * len(children), owner=tree)
    leaves.append(tree)
    return LEAF


def _is_array(tree: Any) -> bool:
    return isinstance(tree, list) and bool(tree) and _block(tree) is not None


def _block(tree: Any) -> tuple[int, ...] | None:
    """The shape of a block of plain numbers; None where it is none."""
    if isinstance(tree, (bool, int, float)):
        return ()
    if not isinstance(tree, list) or not tree:
        return None
    first = _block(tree[0])
    same = first is not None and all(_block(member) == first for member in tree[1:])
    return (len(tree), *first) if same and first is not None else None


def leaves_as(structure: Structure, tree: Any) -> list[Any]:
    """The leaves of a tree that is built like a structure, in which a leaf may be a list of numbers.

    Raises:
        ValueError: it is built in another way.

    Example:
        >>> leaves_as(flatten((object(), [object(), object()]))[1], ([1.0, 2.0], [3.0, 4.0]))
        [[1.0, 2.0], 3.0, 4.0]
    """
    if structure is LEAF:
        return [tree]
    members = tree
    if isinstance(tree, dict):
        members = [tree[key] for key in structure.keys if key in tree]
    if structure.kind is None or not isinstance(members, (list, tuple)) or len(members) != len(structure.children):
        if structure.kind is None and tree is None:
            return []
        wanted = f"a {structure.kind.__name__} of {len(structure.children)}" if structure.kind else "None"
        raise ValueError(f"expected {wanted}, got a {type(tree).__name__}")
    pairs = zip(structure.children, members, strict=True)
    return [leaf for child, member in pairs for leaf in leaves_as(child, member)]


def unflatten(structure: Structure, leaves: list[Any]) -> Any:
    """The tree of this structure with these leaves."""
    assert structure.size == len(leaves), f"{structure.size} leaves wanted, {len(leaves)} given"
    return _unflatten(structure, iter(leaves))


def _unflatten(structure: Structure, leaves: Iterator[Any]) -> Any:
    if structure is LEAF:
        return next(leaves)
    if structure.kind is None:
        return None
    children = [_unflatten(child, leaves) for child in structure.children]
    if structure.owner is not None:
        return structure.owner.tree_rebuild(dict(zip(structure.keys, children, strict=True)))
    if structure.kind is dict:
        return dict(zip(structure.keys, children, strict=True))
    if hasattr(structure.kind, "_fields"):
        return structure.kind(*children)
    return structure.kind(children)


def map(function: Callable[..., Any], tree: Any, *trees: Any) -> Any:
    """Apply `function` to the leaves that stand in the same place of one or more trees.

    Example:
        >>> map(lambda a, b: a + b, {"w": 1, "b": 2}, {"w": 10, "b": 20})
        {'w': 11, 'b': 22}
    """
    leaves, structure = flatten(tree)
    others = [flatten(other)[0] for other in trees]
    return unflatten(structure.plain(), [function(*row) for row in zip(leaves, *others, strict=True)])


def names(tree: Any) -> list[str]:
    """A dotted name for every leaf, in the order of `flatten`.

    Example:
        >>> names({"0": {"weight": 1, "bias": 2}, "rest": (3, 4)})
        ['0.weight', '0.bias', 'rest.0', 'rest.1']
    """
    found: list[str] = []
    _name(flatten(tree)[1], "", found)
    return found


def _name(structure: Structure, prefix: str, found: list[str]) -> None:
    if structure is LEAF:
        found.append(prefix)
        return
    keys = structure.keys or range(len(structure.children))
    for key, child in zip(keys, structure.children, strict=True):
        _name(child, f"{prefix}.{key}" if prefix else str(key), found)

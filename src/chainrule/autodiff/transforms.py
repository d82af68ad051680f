"""Derivatives of functions: `grad`, `vjp`, `jvp`, `jacobian`, `hessian`, `per_example_grad`.

All of them are built on the one reversal. They run define-by-run on values, emit nodes while traced, and nest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from chainrule import tree
from chainrule.autodiff.batch import batched
from chainrule.autodiff.reverse import adjoints, ones_seed
from chainrule.errors import ArgumentError, DerivativeError, ShapeError
from chainrule.graph import functions as F
from chainrule.graph.graph import ancestors, is_static
from chainrule.graph.mode import setting
from chainrule.graph.random import example_keys, keyed
from chainrule.graph.tensor import Tensor, constant, placeholder

Function = Callable[..., Any]
Argnums = int | Sequence[int]


def _variable(leaf: Any, where: str) -> Tensor:
    """A node of one's own for a leaf, still connected to it, so that derivatives nest."""
    x = F.as_tensor(leaf)
    if x.dtype.kind != "f":
        raise DerivativeError("only real numbers have derivatives", where=where, expected="a float dtype", got=x.dtype)
    if x.value is None or x.requires_grad:
        # A derivative that is asked for by name is taken, inside `no_grad` too.
        with setting(recording=True):
            return F.identity(x)
    return Tensor("constant", (), {}, x.shape, x.dtype, x.value, requires_grad=True)


def _selected(args: tuple[Any, ...], argnums: Argnums) -> tuple[list[Tensor], list[Any], tuple[Any, ...]]:
    """Variables for the leaves of the chosen arguments, their structures, and all arguments with these variables."""
    chosen = [argnums] if isinstance(argnums, int) else list(argnums)
    names = [f"argument {i}" for i in range(len(args))]
    filled, variables, structures = list(args), [], []
    for argnum in chosen:
        if not -len(args) <= argnum < len(args):
            raise ArgumentError(
                "no such argument", where="argnums", expected=f"a position below {len(args)}", got=argnum
            )
        leaves, structure = tree.flatten(args[argnum])
        words = tree.names(args[argnum])
        own = [_variable(x, f"{names[argnum]} {word}".strip()) for x, word in zip(leaves, words, strict=True)]
        variables += own
        structures.append(structure)
        filled[argnum] = tree.unflatten(structure, list(own))
    return variables, structures, tuple(filled)


def _packed(found: list[Tensor], structures: list[Any], single: bool) -> Any:
    results, start = [], 0
    for structure in structures:
        results.append(tree.unflatten(structure.plain(), found[start : start + structure.size]))
        start += structure.size
    return results[0] if single else tuple(results)


def _leaves_as(structure: tree.Structure, given: Any, where: str) -> list[Any]:
    try:
        return tree.leaves_as(structure.plain(), given)
    except ValueError as error:
        raise ArgumentError("not of the same structure", where=where, got=str(error)) from None


def _results(y: Any) -> tuple[list[Tensor], Any]:
    leaves, structure = tree.flatten(y)
    return [F.as_tensor(leaf) for leaf in leaves], structure


def _watched(outputs: Sequence[Tensor], variables: Sequence[Tensor]) -> bool:
    """Whether the caller may ask for derivatives of what is made from the outputs."""
    own = {v.id for v in variables if not v.inputs}
    return any(not n.inputs and n.id not in own and (n.requires_grad or n.op == "input") for n in ancestors(outputs))


def _reversed(outputs: Sequence[Tensor], seeds: Sequence[Tensor], variables: Sequence[Tensor]) -> list[Tensor]:
    """The adjoints, with a history of their own only where the caller may differentiate them."""
    with setting(recording=_watched([*outputs, *seeds], variables)):
        return adjoints(outputs, seeds, variables)


def _released(variables: Sequence[Tensor], found: Sequence[Tensor]) -> list[Tensor]:
    """Results, detached from the variables where the caller cannot ask for their derivatives."""
    return list(found) if _watched(found, variables) else [F.stop_gradient(y) for y in found]


def _retire(variables: Sequence[Tensor]) -> None:
    """Mark the stand-ins as no longer differentiable."""
    for v in variables:
        if not v.inputs:
            v.requires_grad = False


def _called(f: Function, args: Sequence[Any], keywords: Mapping[str, Any]) -> tuple[list[Tensor], Any]:
    with setting(recording=True, differentiating=True):
        return _results(f(*args, **keywords))


def _checked(f: Any, argnums: Any = 0) -> Function:
    """Refuse what is not a function, and invalid positions."""
    if not callable(f):
        raise ArgumentError(
            "only a function can be differentiated",
            where="f",
            expected="a function",
            got=type(f).__name__,
            hint="call y.backward() and read x.grad, or write cr.grad(f)(x)",
        )
    positions = argnums if isinstance(argnums, (list, tuple, range)) else [argnums]
    if not all(isinstance(i, (int, np.integer)) and not isinstance(i, bool) for i in positions):
        raise ArgumentError(
            "not a position", where="argnums", expected="an integer or several", got=type(argnums).__name__
        )
    return f


def value_and_grad(f: Function, argnums: Argnums = 0) -> Function:
    """A function that returns (f(…), ∂f/∂argument), where f returns a scalar.

    Args:
        f: takes tensors or nested containers of them (a module counts as the dict of its parameters), returns a scalar.
        argnums: which argument, or which ones (then the gradients are a tuple).

    Raises:
        ShapeError: f returns more than one number.
        DerivativeError: an argument is not real-valued, or an operation has no derivative.

    Example:
        >>> import chainrule as cr
        >>> y, g = cr.value_and_grad(lambda x: (x ** 3).sum())(cr.tensor([1.0, 2.0]))
        >>> float(y), g.tolist()
        (9.0, [3.0, 12.0])
    """
    _checked(f, argnums)

    def function(*args: Any, **keywords: Any) -> tuple[Any, Any]:
        variables, structures, filled = _selected(args, argnums)
        outputs, _ = _called(f, filled, keywords)
        if len(outputs) != 1 or outputs[0].size != 1:
            raise ShapeError(
                "grad needs a function that returns a scalar",
                got=[y.shape for y in outputs],
                hint="sum() it, or use cr.jacobian",
            )
        if outputs[0].dtype.kind != "f":
            raise DerivativeError(
                "the function's output has no derivative", expected="a real number", got=outputs[0].dtype
            )
        found = _reversed(outputs, [ones_seed(outputs[0])], variables)
        value = _released(variables, outputs)[0]
        _retire(variables)
        return value, _packed(found, structures, isinstance(argnums, int))

    return function


def grad(f: Function, argnums: Argnums = 0) -> Function:
    """A function that returns ∂f/∂argument, in the structure of that argument, where f returns a scalar.

    Example:
        >>> import chainrule as cr
        >>> cr.grad(cr.grad(lambda x: x ** 3))(cr.tensor(2.0)).item()
        12.0
    """
    both = value_and_grad(f, argnums)
    return lambda *args, **keywords: both(*args, **keywords)[1]


def vjp(f: Function, *xs: Any) -> tuple[Any, Function]:
    """f(*xs) and the pullback: a function from ∂C/∂f (in f's structure) to the tuple of ∂C/∂x.

    Example:
        >>> import chainrule as cr
        >>> y, pullback = cr.vjp(lambda x: x * x, cr.tensor([1.0, 2.0]))
        >>> pullback(cr.tensor([1.0, 10.0]))[0].tolist()
        [2.0, 40.0]
    """
    variables, structures, filled = _selected(xs, range(len(xs)))
    outputs, structure = _called(_checked(f), filled, {})

    def pullback(cotangent: Any) -> tuple[Any, ...]:
        leaves = _leaves_as(structure, cotangent, "pullback")
        seeds = [F.cast(F.as_tensor(leaf), out.dtype) for leaf, out in zip(leaves, outputs, strict=True)]
        for seed, out in zip(seeds, outputs, strict=True):
            if seed.shape != out.shape:
                raise ShapeError("the cotangent does not fit", where="pullback", expected=out.shape, got=seed.shape)
        return _packed(_reversed(outputs, seeds, variables), structures, False)

    return tree.unflatten(structure.plain(), _released(variables, outputs)), pullback


def jvp(f: Function, xs: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """f(*xs) and its derivative along the tangents.

    The pullback u ↦ uᵀJ is linear in u, so its own reversal along t gives J·t: forward mode by reversing twice.

    Example:
        >>> import chainrule as cr
        >>> y, dy = cr.jvp(lambda x: x * x, [cr.tensor([1.0, 2.0])], [cr.tensor([1.0, 0.5])])
        >>> dy.tolist()
        [2.0, 2.0]
    """
    variables, structures, filled = _selected(tuple(xs), range(len(xs)))
    outputs, structure = _called(_checked(f), filled, {})
    real = [y for y in outputs if y.dtype.kind == "f"]
    seeds = [_variable(_zeros_like(y), "output") for y in real]
    with setting(recording=True):
        pulled = adjoints(real, seeds, variables)
    if len(tangents) != len(structures):
        raise ArgumentError("wrong number of tangents", where="jvp", expected=len(structures), got=len(tangents))
    leaves = [leaf for s, t in zip(structures, tangents, strict=True) for leaf in _leaves_as(s, t, "jvp")]
    directions = [F.cast(F.as_tensor(t), v.dtype) for t, v in zip(leaves, variables, strict=True)]
    for direction, v in zip(directions, variables, strict=True):
        if direction.shape != v.shape:
            raise ShapeError(
                "the tangent does not fit its argument", where="jvp", expected=v.shape, got=direction.shape
            )
    pushed = iter(_reversed(pulled, directions, [*seeds, *variables])[: len(seeds)])
    # What is counted or compared is piecewise constant.
    moved = [next(pushed) if y.dtype.kind == "f" else constant(np.zeros(y.shape)) for y in outputs]
    released = _released(variables, outputs)
    _retire([*seeds, *variables])
    return tree.unflatten(structure.plain(), released), tree.unflatten(structure.plain(), moved)


def _zeros_like(y: Tensor) -> Tensor:
    return constant(np.zeros(y.shape, y.dtype))


def jacobian(f: Function, argnums: Argnums = 0) -> Function:
    """A function that returns ∂f/∂argument as one array of shape output.shape + argument.shape for each leaf.

    Every row of the Jacobian is a pullback; all rows are pulled back as one batch.

    Example:
        >>> import chainrule as cr
        >>> cr.jacobian(lambda x: x * x)(cr.tensor([1.0, 2.0])).tolist()
        [[2.0, 0.0], [0.0, 4.0]]
    """
    _checked(f, argnums)

    def function(*args: Any, **keywords: Any) -> Any:
        variables, structures, filled = _selected(args, argnums)
        outputs, gives = _called(f, filled, keywords)
        rows = [_jacobian_rows(y, variables) for y in outputs]
        _retire(variables)
        single = isinstance(argnums, int)
        return tree.unflatten(gives.plain(), [_packed(row, structures, single) for row in rows])

    return function


def _jacobian_rows(y: Tensor, variables: list[Tensor]) -> list[Tensor]:
    seed = placeholder(y.shape, y.dtype)
    with setting(recording=True):
        pulled = adjoints([y], [seed], variables)
    basis = constant(np.eye(y.size, dtype=y.dtype).reshape(y.size, *y.shape))
    rows = _released(variables, batched(pulled, [seed], [basis]))
    return [F.reshape(row, (*y.shape, *v.shape)) for row, v in zip(rows, variables, strict=True)]


def hessian(f: Function, argnums: int = 0) -> Function:
    """A function that returns ∂²f/∂x∂x of shape x.shape + x.shape, for a single-array argument x and a scalar f.

    Example:
        >>> import chainrule as cr
        >>> cr.hessian(lambda x: (x ** 3).sum())(cr.tensor([1.0, 2.0])).tolist()
        [[6.0, 0.0], [0.0, 12.0]]
    """
    return jacobian(grad(f, argnums), argnums)


def per_example_grad(f: Function, argnums: Argnums = 0, batch: Sequence[int] = (1, 2)) -> Function:
    """A function that returns ∂f/∂argument for each example of a batch, along a new leading axis, without a loop.

    Args:
        f: returns a scalar for *one* example, e.g. `lambda w, x, y: loss(model(w, x), y)`.
        argnums: which argument to differentiate.
        batch: which arguments have a leading axis of examples that f itself does not see.

    Raises:
        ArgumentError: no batched argument, or batches of different lengths.
        TraceError: f chooses by values (`if x > 0`), which may differ between examples.

    Example:
        >>> import chainrule as cr
        >>> g = cr.per_example_grad(lambda w, x: (w * x).sum(), batch=(1,))
        >>> g(cr.tensor([1.0, 1.0]), cr.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [[1.0, 2.0], [3.0, 4.0]]
    """
    _checked(f, argnums)

    def function(*args: Any, **keywords: Any) -> Any:
        filled, examples, batches = list(args), [], []
        for position in batch:
            leaves, structure = tree.flatten(args[position])
            full = [leaf if is_static(leaf) else F.as_tensor(leaf) for leaf in leaves]
            ones = [placeholder(x.shape[1:], x.dtype) if isinstance(x, Tensor) else x for x in full]
            examples += [x for x in ones if isinstance(x, Tensor)]
            batches += [x for x in full if isinstance(x, Tensor)]
            filled[position] = tree.unflatten(structure, ones)
        if len({x.shape[0] for x in batches}) != 1:
            raise ArgumentError(
                "batch sizes differ",
                where="per_example_grad",
                expected="equal leading axes",
                got=[x.shape for x in batches],
            )
        # What an example draws is its own: its key is one more thing that the examples don't share.
        key = placeholder((2,), np.uint32)
        with setting(recording=True), keyed(key):
            gradient = grad(f, argnums)(*filled, **keywords)
        leaves, structure = tree.flatten(gradient)
        keys = example_keys(batches[0].shape[0])
        return tree.unflatten(structure, batched(leaves, [*examples, key], [*batches, keys]))

    return function

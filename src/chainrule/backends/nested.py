"""The interpreter's loops: operations whose body is a graph, which some program runs.

Their kernels empty the list of operands that they are given, so that the first carry of a long training is freed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from chainrule.backends.kernels import unreached_value
from chainrule.errors import OutOfRangeError
from chainrule.graph.ops import parts

BodyProgram = Callable[[Iterable[Any]], list[Any]]
Nested = Callable[[list[Any]], tuple[Any, ...]]


def interpreted_scan(attrs: dict[str, Any], program: BodyProgram) -> Nested:
    """The kernel of a `scan`, its body run by a program."""
    count, length = attrs["carries"], attrs["length"]
    inputs = count + attrs["sequences"]
    order = range(length - 1, -1, -1) if attrs["reverse"] else range(length)

    def kernel(operands: list[Any]) -> tuple[Any, ...]:
        carry, sequences, fixed = operands[:count], operands[count:inputs], operands[inputs:]
        operands.clear()
        stacked = [np.empty(shape, dtype) for shape, dtype in parts(attrs)[count:]]
        for t in order:
            given = program([*carry, *(x[t] for x in sequences), *fixed])
            for stack, value in zip(stacked, (*given[count:], *carry[: attrs["kept"]]), strict=True):
                stack[t] = value
            carry = given[:count]
        return (*carry, *stacked)

    return kernel


def interpreted_loop(attrs: dict[str, Any], program: BodyProgram) -> Nested:
    """The kernel of a `loop`, its body run by a program."""
    body, count, length = attrs["body"], attrs["carries"], attrs["length"]
    types = parts(attrs)[count:-1]
    inputs = count + attrs["sequences"]
    # Such a record says itself that an index lay outside its range, as in compiled code, which cannot raise.
    records_ranges = any(node.op == "in_range" for node in body.nodes)
    # Whether the carry before a step may be the last one.
    stays = attrs["guarded"] or records_ranges

    def kernel(operands: list[Any]) -> tuple[Any, ...]:
        *given, start, stop = operands
        operands.clear()
        carry, sequences, fixed = given[:count], given[count:inputs], given[inputs:]
        del given
        records = [np.full(shape, unreached_value(dtype), dtype) for shape, dtype in types]
        t, last, ok = max(0, int(start)), min(int(stop), length), True
        while ok and t < last:
            try:
                now = [x[t] for x in sequences]
                held = list(carry) if stays else carry
                *given, going_on = program(drained(held, now, list(fixed)))
            except OutOfRangeError:
                if not records_ranges:
                    raise
                ok = False
                break
            for record, value in zip(records, given[count:], strict=True):
                record[t] = value
            ok = bool(going_on)
            if ok or not attrs["guarded"]:
                carry = given[:count]
            t += 1
        return (*carry, *records, np.asarray(ok))

    return kernel


def drained(*lists: list[Any]) -> Iterator[Any]:
    """All elements, each removed from its list as it is taken."""
    for some in lists:
        some.reverse()
        while some:
            yield some.pop()


NESTED: dict[str, Callable[[dict[str, Any], BodyProgram], Nested]] = {
    "scan": interpreted_scan,
    "loop": interpreted_loop,
}

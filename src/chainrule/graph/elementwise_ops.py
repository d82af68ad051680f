"""The elementwise operations' rows of the table: result and operands have one shape, element for element."""

from __future__ import annotations

import numpy as np

from chainrule.graph.ops import BOOL, ELEMENTWISE, OperandType, Rounding, Typed, define, same

EXACT, APPROXIMATE = Rounding.EXACT, Rounding.APPROXIMATE


def _to_bool(x: Typed, *_: Typed) -> OperandType:
    return x.shape, BOOL


def _first(x: Typed, y: Typed) -> OperandType:
    return x.shape, x.dtype


# ---- one operand

for _name, _formula in {
    "exp": "y = eˣ",
    "expm1": "y = eˣ − 1",
    "log": "y = ln x",
    "log1p": "y = ln(1 + x)",
    "sin": "y = sin x",
    "cos": "y = cos x",
    "tanh": "y = tanh x",
    "erf": "y = 2/√π·∫₀ˣ e^(−t²) dt",
}.items():
    define(_name, _formula, same, ELEMENTWISE, APPROXIMATE)
for _name, _formula in {
    "negative": "y = −x",
    "absolute": "y = |x|",
    "sign": "y = sign x",
    "floor": "y = ⌊x⌋",
    "identity": "y = x",
    "materialize": "y = x, computed once",
    "stop_gradient": "y = x, constant for derivatives",
    "bitwise_not": "y = the bits of x, each reversed",
    "within": "y = x, all of it in low…high",
}.items():
    define(_name, _formula, same, ELEMENTWISE, EXACT)
define("sqrt", "y = √x", same, ELEMENTWISE)
define("square", "y = x²", same, ELEMENTWISE)
define("isfinite", "y = x is finite", _to_bool, ELEMENTWISE, EXACT)
define("logical_not", "y = not x", _to_bool, ELEMENTWISE, EXACT)
define("cast", "y = x as dtype", lambda x, dtype: (x.shape, np.dtype(dtype)), ELEMENTWISE, EXACT)

# ---- more operands

for _name, _formula in {
    "add": "z = x + y",
    "subtract": "z = x − y",
    "multiply": "z = x·y",
    "divide": "z = x/y",
    # An adjoint x times or over what can be infinite or NaN at an operation's edge: a zero adjoint stays zero.
    "adjoint_product": "z = x·y, 0 where x = 0",
    "adjoint_quotient": "z = x/y, 0 where x = 0",
}.items():
    define(_name, _formula, _first, ELEMENTWISE)
define("power", "z = xʸ", _first, ELEMENTWISE, APPROXIMATE)
for _name, _formula in {
    "maximum": "z = max(x, y)",
    "minimum": "z = min(x, y)",
    "bitwise_and": "z = the bits that x and y share",
    "bitwise_or": "z = the bits of x and those of y",
    "bitwise_xor": "z = the bits in which x and y differ",
}.items():
    define(_name, _formula, _first, ELEMENTWISE, EXACT)
for _name, _formula in {
    "less": "z = x < y",
    "less_equal": "z = x ≤ y",
    "greater": "z = x > y",
    "greater_equal": "z = x ≥ y",
    "equal": "z = x = y",
    "not_equal": "z = x ≠ y",
    "logical_and": "z = x and y",
    "logical_or": "z = x or y",
}.items():
    define(_name, _formula, _to_bool, ELEMENTWISE, EXACT)
define("where", "y = a where condition, else b", lambda condition, a, b: (a.shape, a.dtype), ELEMENTWISE, EXACT)

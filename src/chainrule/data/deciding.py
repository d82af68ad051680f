"""From all that a column of text holds to what the column is: numbers, dates or times, or names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chainrule.data.clock import find_clock
from chainrule.data.columns import CYCLES, Category, Learnt, Moment, Number, phase
from chainrule.data.notes import Notes, shortened
from chainrule.data.numerals import find_format, signs_in
from chainrule.data.scale import counted_quartiles, spread
from chainrule.data.tallies import Texts
from chainrule.data.unread import NOUNS, Cell, Unread

STRAY = 0.05
"""The share of a column's cells that may be something else than the others, and then count as missing."""
FEW_NUMBERS = 20
"""Different numbers up to which a column with other words beside them holds names: 0, 1, 2, "3 or more"."""
_FEW_WORDS = 5
"""Different words up to which they may be marks of a missing value that nobody has named."""
_FREE = "nearly every row has a text of its own, as identifiers and free text do; --categorical keeps it"


@dataclass(frozen=True)
class Column:
    """All that is known of a column of text.

    Args:
        name: of the column.
        texts: what it holds.
        missing: how many cells hold nothing.
        decimal_comma: whether a comma is rather a decimal one where both is possible.
        coded: whether it holds whole numbers that begin with a zero.
    """

    name: str
    texts: Texts
    missing: int
    decimal_comma: bool
    coded: bool


def is_stray(strays: int, present: int) -> bool:
    """Whether cells that are something else than the others are few enough to count as missing."""
    return strays <= max(1, STRAY * present) and 2 * strays < present


def decide(column: Column, forced: str | None, notes: Notes) -> Learnt | str:
    """What a column is, or why it is left out.

    Args:
        column: what is known of it.
        forced: "categorical" or "numeric" where the user has said so.
        notes: are told what may be a surprise.

    Raises:
        DataError: it holds too many cells that are no numbers, among too many that are.
    """
    if forced == "categorical":
        return category(column.name, column.texts, column.missing, asked_for=True)
    if column.coded and forced is None:
        example = column.texts.text.filter(column.texts.text.str.contains(r"^0\d+$"))[0]
        notes.add(
            "codes, since some begin with a zero",
            column.name,
            f"codes and no numbers, since {example!r} begins with a zero",
        )
        return category(column.name, column.texts, column.missing)
    return _numbers(column, forced, notes) or _clock(column, notes) or _names(column, notes)


def _numbers(column: Column, forced: str | None, notes: Notes) -> Learnt | str | None:
    """The column as numbers; None if it holds something else."""
    name, texts = column.name, column.texts
    found = find_format(texts.text, texts.count, column.decimal_comma)
    known = ~np.isnan(found.values)
    total, read = texts.present, int(texts.count[known].sum())
    unread = _unread(column, "number", known)
    if not read:
        if forced:
            raise unread.refusal()
        return None
    if read < total and forced is None and not is_stray(total - read, total):
        words = texts.text.filter(~known)
        if 2 * read < total or known.sum() <= FEW_NUMBERS or len(words) > _FEW_WORDS:
            return None
        said = shortened(map(repr, words), 3)
        unread.hint = (
            f"--na counts words as missing (here {said}), --categorical makes names of all, --ignore leaves it out"
        )
        raise unread.refusal()
    if read < total:
        unread.say(notes)
    signs = signs_in(texts.text.filter(known), found.values[known])
    if signs:
        said = shortened(map(repr, signs))
        notes.add("read as numbers written with further signs", name, f"{said} beside digits: read as numbers")
    if found.ambiguous:
        kind = "a decimal comma" if found.format.decimal == "," else "a mark between thousands"
        notes.add("a comma may be a decimal one", name, f"the comma in {found.ambiguous!r} is read as {kind}")
    values, counts = found.values[known], texts.count[known]
    low, high = float(values.min()), float(values.max())
    missing = column.missing + total - read
    if low == high and not missing:
        return "always the same value"
    quarters = counted_quartiles(values, counts)
    scale = float(spread(quarters, low, high))
    return Number(name, float(quarters[1]), scale, low, high, missing > 0, found.format)


def _clock(column: Column, notes: Notes) -> Learnt | str | None:
    """The column as dates or times; None if it holds something else."""
    texts = column.texts
    found = find_clock(texts.text, texts.count)
    if found is None:
        return None
    known = ~np.isnan(found.values)
    total, read = texts.present, int(texts.count[known].sum())
    if read < total:
        if not is_stray(total - read, total):
            return None
        _unread(column, NOUNS[found.format.kind], known).say(notes)
    if found.ambiguous:
        which = "month" if found.format.format.startswith("%m") else "day"
        detail = (
            f"in {found.ambiguous!r} the first number is taken for the {which}; write dates as 2024-12-31 otherwise"
        )
        notes.add("dates that could be read in two ways", column.name, detail)
    missing = column.missing + total - read
    values, counts = found.values[known], texts.count[known]
    made = moment(column.name, values, counts, missing, found.format.kind)
    return made if isinstance(made, str) else Moment(**{**vars(made), "format": found.format})


def moment(name: str, values: np.ndarray, counts: np.ndarray, missing: int, clock: str) -> Moment | str:
    """Dates or times by their numbers, or why they are left out."""
    low, high = float(values.min()), float(values.max())
    if low == high and not missing:
        return "always the same value"
    quarters = counted_quartiles(values, counts)
    cycles = [cycle for cycle in CYCLES[clock] if _varies(values, cycle, clock)]
    scale = float(spread(quarters, low, high))
    return Moment(name, float(quarters[1]), scale, low, high, missing > 0, cycles, clock)


def _varies(values: np.ndarray, cycle: str, clock: str) -> bool:
    """Whether a cycle tells rows apart: days of the week, times of day, or more than one month of the year."""
    steps = 12 if cycle == "year" else 7 if cycle == "week" else 24 * 60
    return len(np.unique(np.floor(phase(values, cycle, clock) * steps + 1e-6))) > 1


def _names(column: Column, notes: Notes) -> Learnt | str:
    texts = column.texts
    made = category(column.name, texts, column.missing)
    if isinstance(made, Category):
        numbers = np.array([_is_number(text) for text in texts.text], dtype=bool)
        if 2 * texts.count[numbers].sum() > texts.present:
            word = texts.text.filter(~numbers)[0]
            notes.add("names among numbers", column.name, f"names and no numbers, as {word!r} is")
    return made


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def category(name: str, texts: Texts, missing: int, asked_for: bool = False) -> Category | str:
    """A column of names, or why it is left out; it is not for having a text of its own in each row, if asked for."""
    levels = len(texts.text)
    if texts.share < 1 or (levels >= 10 and levels > texts.present / 2 and not asked_for):
        return _FREE
    if levels == 1 and not missing:
        return "always the same value"
    return Category(name, sorted(texts.text.to_list()), missing > 0)


def _unread(column: Column, noun: str, known: np.ndarray) -> Unread:
    texts = column.texts
    others = np.flatnonzero(~known)
    total = texts.present
    if not others.size:
        return Unread(column.name, noun, Cell(0, ""), 0, total)
    at = int(others[texts.first[others].argmin()])
    return Unread(column.name, noun, Cell(int(texts.first[at]), texts.text[at]), int(texts.count[others].sum()), total)

"""Which kind of mistake a failure suggests: rules over the verdict and the source, the surest first.

A rule is a function that looks at a `Case` and says one sentence, or None. Rules that look at the source
alone (`STATIC`) speak also where the failing test is hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ilf.feedback import error_rules as errors
from ilf.feedback import source_rules as source
from ilf.feedback import value_rules as values
from ilf.feedback.case import Case
from ilf.kinds import is_code

Rule = Callable[[Case], str | None]


class Mistake(NamedTuple):
    """A kind of mistake and a sentence about it."""

    kind: str
    text: str


def mistakes(case: Case) -> list[Mistake]:
    """What the failure suggests, the surest first; a kind at most once; none of what is no program."""
    if not is_code(case.task):
        return []
    found = []
    for kind, rule in RULES.items():
        text = rule(case)
        if text is not None and (case.open or kind in STATIC):
            found.append(Mistake(kind, text))
    return found


RULES: dict[str, Rule] = {
    "no code": source.no_code,
    "syntax": source.syntax,
    "function missing": source.no_function,
    "infinite loop": source.endless,
    "too slow": errors.too_slow,
    "memory": errors.too_large,
    "endless recursion": errors.no_base,
    "name not defined": errors.unknown_name,
    "used before assignment": errors.too_early,
    "module missing": errors.no_module,
    "value of an in-place method": source.in_place,
    "missing return": source.no_return,
    "empty input": errors.empty,
    "index out of range": errors.bounds,
    "missing key": errors.missing_key,
    "division by zero": errors.by_zero,
    "wrong arguments": errors.arity,
    "wrong operand type": errors.unfit,
    "no such method": errors.no_attribute,
    "bad conversion": errors.conversion,
    "bad pattern": errors.pattern,
    "return in the first round": source.first_round,
    "hard-coded answer": source.hard_coded,
    "off by one": values.off_by_one,
    "opposite answer": values.opposite,
    "sign": values.sign,
    "rounding": values.rounding,
    "wrong type": values.wrong_type,
    "order or duplicates": values.order,
    "case or white space": values.text,
    "unchanged": values.unchanged,
    "unused argument": source.unused,
}
"""Kind of mistake → rule, the surest first."""

STATIC = {
    "no code", "syntax", "function missing", "infinite loop", "value of an in-place method", "missing return",
    "return in the first round", "hard-coded answer", "unused argument",
}  # fmt: skip
"""Kinds that the source alone tells."""

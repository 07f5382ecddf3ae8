"""`--fail-on`: a condition on a record's scores, such as "abs(offset_ms) > 60 or lse_c < 4".

Python's parser reads the text, but Python never evaluates it. A condition may contain numbers, names of scores,
+ - * /, abs(), comparisons, and, or, not.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from lipscore.errors import UsageError
from lipscore.eval.store.judged import no_offset
from lipscore.metrics import catalogue
from lipscore.types import VideoScore

BY_CHANCE = (catalogue.OFFSET.name, catalogue.OFFSET_MS.name)  # what a mouth that does not move gives
LONGEST = 500  # characters: deep nesting would exhaust the stack
EXAMPLE = "write a condition on scores, such as 'abs(offset_ms) > 60 or lse_c < 4'"
_ARITHMETIC: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
Values = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Gate:
    """A condition; a video that meets it fails. names: the scores that the condition uses."""

    text: str
    names: tuple[str, ...]
    _holds: Callable[[Values], bool]

    @classmethod
    def parse(cls, text: str) -> Gate:
        """The gate for a condition in text form.

        Raises:
            UsageError: the text is longer than LONGEST, is not a condition, or names no score.
        """
        names: dict[str, None] = {}
        try:
            if len(text) > LONGEST:
                raise ValueError(f"longer than {LONGEST} characters")
            holds = _condition(ast.parse(text.strip(), mode="eval").body, names)
            if not names:
                raise ValueError(f"names no score; the scores are {', '.join(known_names())}")
        except SyntaxError as error:
            raise UsageError.about("fail_on", repr(text), f"cannot be read ({error.msg}); {EXAMPLE}") from None
        except (ValueError, OverflowError, RecursionError, MemoryError) as error:
            raise UsageError.about("fail_on", repr(text), f"{error}; {EXAMPLE}") from None
        return cls(text, tuple(names), holds)

    def why(self, score: VideoScore) -> str:
        """Why this record fails; empty if it passes. A record that lacks a score of the condition fails too."""
        values = values_of(score)
        missing = [name for name in self.names if name not in values]
        if missing:
            why = no_offset(score)
            return f"cannot be judged by {self.text!r}: it has no {', '.join(missing)}{f' ({why})' if why else ''}"
        try:
            holds = self._holds(values)
        except ZeroDivisionError:
            return f"cannot be judged by {self.text!r}: division by 0"
        numbers = ", ".join(f"{name} = {values[name]:g}" for name in self.names)
        return f"fails {self.text!r}: {numbers}" if holds else ""


def known_names() -> tuple[str, ...]:
    """The names that a condition may use."""
    return tuple(score.name for score in catalogue.SCORES if score.shown)


def values_of(score: VideoScore) -> dict[str, float]:
    """Name -> value of each score that a record has; without those that silence or a still mouth gave."""
    by_chance = () if not no_offset(score) else BY_CHANCE
    found = {
        one.name: one.of(score)
        for one in catalogue.SCORES
        if one.shown and one.name not in by_chance and not (score.silent and one.level == "track")
    }
    return {name: float(value) for name, value in found.items() if value is not None and math.isfinite(value)}


def failures(records: Iterable[VideoScore], gates: Iterable[Gate]) -> list[str]:
    """A line for each scored video and each gate that it fails."""
    gates = tuple(gates)
    return [
        f"{score.name}: {why}"
        for score in records
        if score.status == "ok"
        for gate in gates
        if (why := gate.why(score))
    ]


def _condition(node: ast.expr, names: dict[str, None]) -> Callable[[Values], bool]:
    """A condition as a function of the scores; collects the names that it uses."""
    if isinstance(node, ast.BoolOp):
        parts = [_condition(value, names) for value in node.values]
        every = all if isinstance(node.op, ast.And) else any
        return lambda values: every(part(values) for part in parts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        inner = _condition(node.operand, names)
        return lambda values: not inner(values)
    if isinstance(node, ast.Compare) and all(type(op) in _COMPARISONS for op in node.ops):
        terms = [_term(term, names) for term in (node.left, *node.comparators)]
        compare = [_COMPARISONS[type(op)] for op in node.ops]

        def chain(values: Values) -> bool:
            numbers = [term(values) for term in terms]
            return all(op(a, b) for op, a, b in zip(compare, numbers, numbers[1:], strict=False))

        return chain
    raise ValueError(f"{ast.unparse(node)!r} is not a condition")


def _term(node: ast.expr, names: dict[str, None]) -> Callable[[Values], float]:
    """A number as a function of the scores."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        number = float(node.value)  # type: ignore[arg-type]
        return lambda _: number
    if isinstance(node, ast.Name):
        name = node.id
        if name not in known_names():
            raise ValueError(f"{name!r} is not a score; the scores are {', '.join(known_names())}")
        names[name] = None
        return lambda values: values[name]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _term(node.operand, names)
        return lambda values: -inner(values)
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        left, right, apply = _term(node.left, names), _term(node.right, names), _ARITHMETIC[type(node.op)]
        return lambda values: apply(left(values), right(values))
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "abs"
        and len(node.args) == 1
        and not node.keywords
    ):
        argument = _term(node.args[0], names)
        return lambda values: abs(argument(values))
    raise ValueError(f"{ast.unparse(node)!r} is not a number")

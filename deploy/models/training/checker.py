"""Says of each line of a transcript whether it is true.

The checker does not compare with the solution that was trained: it parses each line as one of the known
forms and recomputes with integers what the line claims *for the problem at hand*: a column must name the
problem's own digits and its true carry.
"""

import re
from dataclasses import dataclass, field

from problem import MAX_COUNT, SYMBOLS, relation, value_of
from solution import PLACES, TEXT, answer_text

# Named groups of each form, in the order of its blanks; a group `t...` holds an expression `x op y`.
_GROUPS = {
    "need": "t", "first": "t", "then": "t", "now": "t",
    "compare": "ab", "count": "ab", "minus": "abcd", "shift": "tatb",
    "next": "ab", "end": "a", "last_carry": "pab", "place": "parb",
}
_BLANKS = {
    "a": r"(\d+)", "b": r"(\d+)", "c": r"(\d+)", "d": r"(\d+)",
    "p": r"(\D+?)", "r": "([<>=])", "t": r"(\d+ [-+×] \d+)",
}


def _form(language, name, blanks):
    text = re.escape(TEXT[language][name]).replace(r"\ ", " ")
    for blank in blanks:
        text = text.replace(r"\{\}", blank, 1)
    return re.compile(text)


def _forms(language):
    forms = {
        name: _form(language, name, [_BLANKS[g] for g in groups]) for name, groups in _GROUPS.items()
    }
    terms = r"(\d+) ([-+×]) (\d+) ([-+]) (\d+)"
    for name in ("carry", "borrow"):
        forms[name] = _form(language, name, [r"(\D+?)", terms, r"(-?\d+)", r"(\d+)", r"(\d+)"])
    forms["digits"] = _form(language, "digits", [r"(\d+)", r"(\D+ \d(?:\D+ \d)*)"])
    forms["so"] = _form(language, "so", [r"(\d+(?: [-+×] \d+)?) ([<>=]) (-?\d+)"])
    return forms


_FORMS = {language: _forms(language) for language in TEXT}


@dataclass
class Verdict:
    """What was found in one transcript. `false_lines` holds (line, why)."""

    answer_right: bool
    false_lines: list = field(default_factory=list)


def _step(symbol, x, y):
    return f"{x} {symbol} {y}"


class _Reading:
    """Walks through the reasoning; `current` is the sum or product whose columns are being worked."""

    def __init__(self, problem):
        self.problem = problem
        self.places = PLACES[problem.language]
        self.comma = TEXT[problem.language]["comma"]
        a, b = problem.a, problem.b
        self.current = (SYMBOLS.get(problem.kind, "?"), a, b)
        self.task = _step(*self.current)
        self.parts = {}
        if problem.kind == "mul" and b > 9:
            ones, tens = a * (b % 10), a * (b // 10)
            self.parts = {
                "first": ("×", a, b % 10), "then": ("×", a, b // 10), "now": ("+", ones, tens * 10),
            }

    def is_true(self, name, values):
        return getattr(self, "_" + name)(*values)

    def _place(self, place, x, sign, y):
        index = self._index(place)
        a, b = self.problem.a, self.problem.b
        return (
            self.problem.kind in ("sub", "compare")
            and self._width_holds(index)
            and a // 10 ** (index + 1) == b // 10 ** (index + 1)
            and int(x) == a // 10**index % 10
            and int(y) == b // 10**index % 10
            and sign == relation(int(x), int(y))
        )

    def _need(self, task):
        return self.problem.kind in SYMBOLS and task == self.task

    def _part(self, name, task):
        step = self.parts.get(name)
        if step is None or task != _step(*step):
            return False
        self.current = step
        return True

    def _first(self, task):
        return self._part("first", task)

    def _then(self, task):
        return self._part("then", task)

    def _now(self, task):
        return self._part("now", task)

    def _compare(self, a, b):
        return self.problem.kind == "compare" and self._are_operands(a, b)

    def _count(self, a, b):
        return self.problem.kind == "count" and self._are_operands(a, b)

    def _next(self, a, b):
        low, high = self.problem.a, self.problem.b
        return self.problem.kind == "count" and int(b) == int(a) + 1 and low <= int(a) < high <= MAX_COUNT

    def _end(self, a):
        return self.problem.kind == "count" and int(a) == self.problem.b

    def _digits(self, number, named):
        if int(number) not in self.current[1:]:
            return False
        pairs = [pair.rsplit(" ", 1) for pair in named.split(self.comma)]
        width = len(pairs)
        names = [name for name, _ in pairs]
        digits = "".join(digit for _, digit in pairs)
        return (
            width <= len(self.places)
            and names == list(reversed(self.places[:width]))
            and digits == number.zfill(width)
        )

    def _minus(self, a, b, c, d):
        low, high = self.problem.a, self.problem.b
        if self.problem.kind != "sub" or low >= high:
            return False
        self.current = ("-", high, low)
        return self._are_operands(a, b) and (int(c), int(d)) == (high, low)

    def _carry(self, place, x, symbol, y, plus, carry, total, write, next_carry):
        current_symbol, a, b = self.current
        index = self._index(place)
        if symbol != current_symbol or symbol == "-" or plus != "+" or not self._width_holds(index):
            return False
        x, y, carry, total = int(x), int(y), int(carry), int(total)
        digit = b // 10**index % 10 if symbol == "+" else b
        return (
            (x, y) == (a // 10**index % 10, digit)
            and carry == self._carry_into(index)
            and total == (x + y if symbol == "+" else x * y) + carry
            and (int(next_carry), int(write)) == divmod(total, 10)
        )

    def _borrow(self, place, x, symbol, y, minus, borrow, total, write, next_borrow):
        current_symbol, a, b = self.current
        index = self._index(place)
        if (symbol, minus, current_symbol) != ("-", "-", "-") or a < b or not self._width_holds(index):
            return False
        x, y, borrow, total = int(x), int(y), int(borrow), int(total)
        return (
            (x, y) == (a // 10**index % 10, b // 10**index % 10)
            and borrow == (1 if a % 10**index < b % 10**index else 0)
            and total == x - y - borrow
            and int(write) == total % 10
            and int(next_borrow) == (1 if total < 0 else 0)
        )

    def _last_carry(self, place, carry, write):
        symbol, a, b = self.current
        index = self._index(place)
        width = len(str(a)) if symbol == "×" else len(str(max(a, b)))
        return (
            symbol in "+×"
            and index == width
            and int(carry) == int(write) == self._carry_into(index) != 0
        )

    def _shift(self, task, product, shifted, value):
        symbol, a, factor = self.parts.get("then", ("?", 0, 0))
        return (
            (task, shifted) == (_step("×", a, factor), _step("×", a, factor * 10))
            and int(product) == a * factor
            and int(value) == a * factor * 10
        )

    def _so(self, left, sign, right):
        a, b = self.problem.a, self.problem.b
        if self.problem.kind == "compare":
            return (left, sign, right) == (str(a), relation(a, b), str(b))
        if left == self.task:
            return sign == "=" and int(right) == value_of(self.problem)
        symbol, x, y = self.current
        value = {"+": x + y, "-": x - y, "×": x * y}.get(symbol)
        return sign == "=" and left == _step(*self.current) and int(right) == value

    def _index(self, place):
        return self.places.index(place) if place in self.places else len(self.places)

    def _width_holds(self, index):
        symbol, a, b = self.current
        return index < (len(str(a)) if symbol == "×" else len(str(max(a, b))))

    def _carry_into(self, index):
        symbol, a, b = self.current
        low, unit = a % 10**index, 10**index
        return (low * b if symbol == "×" else low + b % unit) // unit

    def _are_operands(self, a, b):
        return (int(a), int(b)) == (self.problem.a, self.problem.b)


def _why_false(reading, line):
    for name, form in _FORMS[reading.problem.language].items():
        match = form.fullmatch(line)
        if match:
            return None if reading.is_true(name, match.groups()) else f"false ({name})"
    return "no known form"


def _conclusion(problem):
    """The last line that a finished worked solution has, as (form, values)."""
    return "end" if problem.kind == "count" else "so"


def check(problem, reasoning, answer):
    """Judges the answer and every line of the reasoning of one transcript."""
    verdict = Verdict(answer.strip() == answer_text(problem))
    reading = _Reading(problem)
    lines = reasoning.strip().split("\n")
    for line in lines:
        why = _why_false(reading, line)
        if why:
            verdict.false_lines.append((line, why))
    form = _FORMS[problem.language][_conclusion(problem)]
    if not verdict.false_lines and not form.fullmatch(lines[-1]):
        verdict.false_lines.append((lines[-1], "the solution is not finished"))
    return verdict

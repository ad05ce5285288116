"""A problem, its language, and the split of all problems into trained and held-out ones."""

import hashlib
import re
from dataclasses import dataclass

KINDS = ("add", "sub", "mul", "compare", "count")
SYMBOLS = {"add": "+", "sub": "-", "mul": "×"}
# What a comparison asks for; every other kind has the one request "value".
COMPARE_ASKS = ("larger", "smaller", "is_larger", "is_smaller", "relation")
MAX_SUM_OPERAND = 9999
MAX_FACTOR = 99
MAX_COUNT = 30
HELD_OUT_SHARE = 10  # one problem in so many

_CHINESE = re.compile("[\u4e00-\u9fff\u3002\uff0c\uff01\uff1f]")


@dataclass(frozen=True)
class Problem:
    """Two operands and what is asked about them; `language` is that of the question."""

    kind: str
    a: int
    b: int
    ask: str = "value"
    language: str = "en"


def language_of(text):
    """Chinese as soon as the text holds a Chinese character or punctuation mark."""
    return "zh" if _CHINESE.search(text) else "en"


def is_held_out(problem):
    """True if no training text may contain this problem, in whatever wording or order.

    The operands are sorted, so that 27 + 48 and 48 + 27 (or 27 - 48 and 48 - 27) lie on one side.
    """
    low, high = sorted((problem.a, problem.b))
    key = f"{problem.kind}:{low}:{high}".encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") % HELD_OUT_SHARE == 0


def relation(a, b):
    return "<" if a < b else ">" if a > b else "="


def value_of(problem):
    """The number that an arithmetic problem asks for."""
    return {
        "add": problem.a + problem.b,
        "sub": problem.a - problem.b,
        "mul": problem.a * problem.b,
    }[problem.kind]


def _number(rng, digits):
    return rng.randrange(0 if digits == 1 else 10 ** (digits - 1), 10**digits)


def _pair(rng, max_digits):
    """Two numbers, more often of the same length than chance has it."""
    digits = rng.randint(1, max_digits)
    other = digits if rng.random() < 0.4 else rng.randint(1, max_digits)
    return _number(rng, digits), _number(rng, other)


def _similar_pair(rng, max_digits):
    """Two numbers that share their leading digits: the hard cases of comparison and borrowing."""
    a = _number(rng, rng.randint(1, max_digits))
    unit = 10 ** rng.randint(0, len(str(a)) - 1)
    b = a - a % unit + rng.randrange(unit)
    return (a, b) if rng.random() < 0.5 else (b, a)


def _operands(rng, kind):
    if kind == "mul":
        digits = rng.choice(((1, 1), (1, 2), (2, 1), (2, 2), (2, 2), (2, 2)))
        return _number(rng, digits[0]), _number(rng, digits[1])
    if kind == "count":
        if rng.random() < 0.3:
            return 1, rng.randint(1, MAX_COUNT)
        if rng.random() < 0.4:  # short ranges, where every number is a first or a last one
            low = rng.randint(1, MAX_COUNT)
            return low, min(MAX_COUNT, low + rng.randint(0, 4))
        return tuple(sorted((rng.randint(1, MAX_COUNT), rng.randint(1, MAX_COUNT))))
    similar = {"add": 0.0, "sub": 0.15, "compare": 0.4}[kind]
    return _similar_pair(rng, 4) if rng.random() < similar else _pair(rng, 4)


def draw(rng, kind, held_out):
    """A random problem of `kind` from the side of the split that `held_out` names."""
    ask = rng.choice(COMPARE_ASKS) if kind == "compare" else "value"
    while True:
        problem = Problem(kind, *_operands(rng, kind), ask)
        if is_held_out(problem) == held_out:
            return problem

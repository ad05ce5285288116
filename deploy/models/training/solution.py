"""The worked solution of a problem: what stands between <think> and </think>, and the answer.

Every line is local: it copies what it needs from the lines above by its place name (ones, tens, ...)
and does one step, so that a small model can do it and `checker.py` can verify it.
"""

from problem import SYMBOLS, relation, value_of

PLACES = {
    "en": ("ones", "tens", "hundreds", "thousands", "ten thousands"),
    "zh": ("个位", "十位", "百位", "千位", "万位"),
}
TEXT = {
    "en": {
        "need": "I need {}.", "first": "First {}.", "then": "Then {}.", "now": "Now {}.",
        "compare": "I compare {} and {}.", "count": "I count from {} to {}.",
        "digits": "{}: {}", "digit": "{} {}", "comma": ", ",
        "carry": "{}: {} = {}, write {}, carry {}", "borrow": "{}: {} = {}, write {}, borrow {}",
        "last_carry": "{}: carry {}, write {}", "place": "{}: {} {} {}",
        "minus": "{} < {}, so I need {} - {} and a minus sign.", "shift": "{} = {}, so {} = {}",
        "so": "So {}.", "next": "after {} comes {}", "end": "{} is the last number",
    },
    "zh": {
        "need": "要算 {}。", "first": "先算 {}。", "then": "再算 {}。", "now": "最后算 {}。",
        "compare": "要比较 {} 和 {}。", "count": "要从 {} 数到 {}。",
        "digits": "{}：{}", "digit": "{} {}", "comma": "，",
        "carry": "{}：{} = {}，写 {}，进 {}", "borrow": "{}：{} = {}，写 {}，借 {}",
        "last_carry": "{}：进位 {}，写 {}", "place": "{}：{} {} {}",
        "minus": "{} < {}，所以算 {} - {}，再加负号。", "shift": "{} = {}，所以 {} = {}",
        "so": "所以 {}。", "next": "{} 后面是 {}", "end": "{} 是最后一个数",
    },
}
_ANSWERS = {
    "en": {
        "equal": "They are equal: {} = {}.", "larger": "{} is larger than {}.",
        "smaller": "{} is smaller than {}.", "yes": "Yes, ", "no": "No, ",
        "not_larger": "{} is not larger than {}.", "not_smaller": "{} is not smaller than {}.",
        "comma": ", ",
    },
    "zh": {
        "equal": "一样大：{} = {}。", "larger": "{} 比 {} 大。", "smaller": "{} 比 {} 小。",
        "yes": "是的，", "no": "不，", "not_larger": "{} 不比 {} 大。", "not_smaller": "{} 不比 {} 小。",
        "comma": "、",
    },
}


class _Lines:
    """The lines of one solution in one language."""

    def __init__(self, language):
        self.text = TEXT[language]
        self.places = PLACES[language]
        self.lines = []

    def say(self, form, *values):
        self.lines.append(self.text[form].format(*values))

    def digits(self, number, width):
        digits = str(number).zfill(width)
        named = (
            self.text["digit"].format(self.places[width - 1 - i], digit)
            for i, digit in enumerate(digits)
        )
        self.say("digits", number, self.text["comma"].join(named))

    def both_digits(self, a, b):
        width = max(len(str(a)), len(str(b)))
        self.digits(a, width)
        self.digits(b, width)
        return width

    def add_columns(self, a, b, width):
        carry = 0
        for place in range(width):
            x, y = a // 10**place % 10, b // 10**place % 10
            total = x + y + carry
            sum_text = f"{x} + {y} + {carry}"
            carry = total // 10
            self.say("carry", self.places[place], sum_text, total, total % 10, carry)
        self._last_carry(width, carry)

    def multiply_columns(self, a, factor):
        carry = 0
        width = len(str(a))
        for place in range(width):
            x = a // 10**place % 10
            total = x * factor + carry
            sum_text = f"{x} × {factor} + {carry}"
            carry = total // 10
            self.say("carry", self.places[place], sum_text, total, total % 10, carry)
        self._last_carry(width, carry)

    def subtract_columns(self, a, b, width):
        """REQUIRES: a >= b."""
        borrow = 0
        for place in range(width):
            x, y = a // 10**place % 10, b // 10**place % 10
            total = x - y - borrow
            sum_text = f"{x} - {y} - {borrow}"
            borrow = 1 if total < 0 else 0
            self.say("borrow", self.places[place], sum_text, total, total % 10, borrow)

    def compare_places(self, a, b, width):
        for place in reversed(range(width)):
            x, y = a // 10**place % 10, b // 10**place % 10
            self.say("place", self.places[place], x, relation(x, y), y)
            if x != y:
                break

    def _last_carry(self, width, carry):
        if carry:
            self.say("last_carry", self.places[width], carry, carry)


def _add(out, a, b):
    out.add_columns(a, b, out.both_digits(a, b))


def _subtract(out, a, b):
    width = out.both_digits(a, b)
    out.compare_places(a, b, width)
    if a < b:
        out.say("minus", a, b, b, a)
        out.subtract_columns(b, a, width)
        out.say("so", f"{b} - {a} = {b - a}")
    elif a > b:
        out.subtract_columns(a, b, width)


def _multiply(out, a, b):
    out.digits(a, len(str(a)))
    out.digits(b, len(str(b)))
    if b < 10:
        out.multiply_columns(a, b)
        return
    tens, ones = divmod(b, 10)
    out.say("first", f"{a} × {ones}")
    out.multiply_columns(a, ones)
    out.say("so", f"{a} × {ones} = {a * ones}")
    out.say("then", f"{a} × {tens}")
    out.multiply_columns(a, tens)
    out.say("shift", f"{a} × {tens}", a * tens, f"{a} × {tens}0", a * tens * 10)
    out.say("now", f"{a * ones} + {a * tens * 10}")
    _add(out, a * ones, a * tens * 10)


def reasoning_lines(problem):
    """The worked solution, line by line, in the problem's language."""
    out = _Lines(problem.language)
    a, b = problem.a, problem.b
    if problem.kind == "count":
        out.say("count", a, b)
        for number in range(a, b):
            out.say("next", number, number + 1)
        out.say("end", b)
        return out.lines
    if problem.kind == "compare":
        out.say("compare", a, b)
        out.compare_places(a, b, out.both_digits(a, b))
        out.say("so", f"{a} {relation(a, b)} {b}")
        return out.lines
    task = f"{a} {SYMBOLS[problem.kind]} {b}"
    out.say("need", task)
    {"add": _add, "sub": _subtract, "mul": _multiply}[problem.kind](out, a, b)
    out.say("so", f"{task} = {value_of(problem)}")
    return out.lines


def _compare_answer(problem):
    text = _ANSWERS[problem.language]
    a, b, ask = problem.a, problem.b, problem.ask
    if ask == "relation":
        return f"{a} {relation(a, b)} {b}"
    if ask == "is_larger":
        return (text["yes"] + text["larger"] if a > b else text["no"] + text["not_larger"]).format(a, b)
    if ask == "is_smaller":
        return (text["yes"] + text["smaller"] if a < b else text["no"] + text["not_smaller"]).format(a, b)
    if a == b:
        return text["equal"].format(a, b)
    if ask == "larger":
        return text["larger"].format(max(a, b), min(a, b))
    return text["smaller"].format(min(a, b), max(a, b))


def answer_text(problem):
    """The one right answer, in the problem's language."""
    if problem.kind == "compare":
        return _compare_answer(problem)
    if problem.kind == "count":
        comma = _ANSWERS[problem.language]["comma"]
        return comma.join(str(number) for number in range(problem.a, problem.b + 1))
    return f"{problem.a} {SYMBOLS[problem.kind]} {problem.b} = {value_of(problem)}"

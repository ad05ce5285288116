"""The questions: several wordings of each problem in English and Chinese, and the way back."""

import functools
import re
from dataclasses import replace

from problem import COMPARE_ASKS, MAX_COUNT, MAX_FACTOR, MAX_SUM_OPERAND, Problem, language_of

_ADD = (
    "What is {a}+{b}?", "What is {a} + {b}?", "{a} + {b} = ?", "{a}+{b}=?", "{a} + {b}", "{a}+{b}",
    "{a}+{b}=", "{a} + {b} =", "Compute {a}+{b}.", "Compute {a} + {b}.", "Calculate {a} + {b}.",
    "How much is {a} + {b}?", "What is {a} plus {b}?", "What's {a} + {b}?", "Add {a} and {b}.",
    "Add {b} to {a}.", "What is the sum of {a} and {b}?", "Work out {a} + {b}.", "{a} plus {b}",
    "How much is {a} plus {b}?", "Find the sum of {a} and {b}.", "What do you get if you add {a} and {b}?",
    "What does {a} + {b} equal?", "Solve {a} + {b}.", "Can you add {a} and {b}?", "What is {a} added to {b}?",
    "Calculate the sum: {a} + {b}", "Could you compute {a} + {b} for me?",
    "{a}加{b}等于多少？", "{a}+{b}等于多少？", "{a} + {b} 等于多少？", "{a}加{b}是多少？", "{a}+{b}=？",
    "计算{a}+{b}。", "计算 {a} + {b}。", "求{a}与{b}的和。", "{a}和{b}的和是多少？", "{a}和{b}相加是多少？",
    "{a}加{b}等于几？", "算一下{a}+{b}", "{a}加上{b}是多少？", "{a}加{b}",
)
_SUB = (
    "What is {a}-{b}?", "What is {a} - {b}?", "{a} - {b} = ?", "{a}-{b}=?", "{a} - {b}", "{a}-{b}",
    "{a}-{b}=", "{a} - {b} =", "Compute {a}-{b}.", "Compute {a} - {b}.", "Calculate {a} - {b}.",
    "How much is {a} - {b}?", "What is {a} minus {b}?", "What's {a} - {b}?", "Subtract {b} from {a}.",
    "What is {b} less than {a}?", "Work out {a} - {b}.", "{a} minus {b}", "How much is {a} minus {b}?",
    "Take {b} away from {a}.", "What do you get if you subtract {b} from {a}?",
    "What does {a} - {b} equal?", "Solve {a} - {b}.", "Can you subtract {b} from {a}?",
    "Could you compute {a} - {b} for me?",
    "{a}减{b}等于多少？", "{a}-{b}等于多少？", "{a} - {b} 等于多少？", "{a}减{b}是多少？", "{a}-{b}=？",
    "计算{a}-{b}。", "计算 {a} - {b}。", "求{a}与{b}的差。", "{a}与{b}的差是多少？", "{a}减去{b}是多少？",
    "{a}减去{b}等于几？", "算一下{a}-{b}", "从{a}中减去{b}是多少？", "{a}减{b}",
)
_MUL = (
    "What is {a}*{b}?", "What is {a} * {b}?", "What is {a}×{b}?", "What is {a} × {b}?", "What is {a} x {b}?",
    "What is {a}x{b}?", "{a} * {b} = ?", "{a}*{b}=?", "{a} × {b} = ?", "{a} x {b} = ?", "{a} * {b}", "{a}*{b}",
    "{a} × {b}", "{a}×{b}", "{a} x {b}", "{a}x{b}", "{a}*{b}=", "{a}×{b}=",
    "Compute {a}*{b}.", "Compute {a} × {b}.", "Calculate {a} * {b}.", "How much is {a} × {b}?",
    "What is {a} times {b}?", "What's {a} * {b}?", "Multiply {a} by {b}.", "Multiply {a} and {b}.",
    "What is the product of {a} and {b}?", "Work out {a} × {b}.", "{a} times {b}",
    "How much is {a} times {b}?", "What is {a} multiplied by {b}?", "What does {a} * {b} equal?",
    "Solve {a} * {b}.", "Can you multiply {a} by {b}?", "Could you compute {a} * {b} for me?",
    "{a}乘以{b}等于多少？", "{a}×{b}等于多少？", "{a} × {b} 等于多少？", "{a}乘{b}是多少？", "{a}×{b}=？",
    "{a}*{b}=？", "{a}*{b}等于多少？", "计算{a}×{b}。", "计算 {a} × {b}。", "计算{a}*{b}。",
    "求{a}与{b}的积。", "{a}和{b}的乘积是多少？", "{a}乘以{b}是多少？", "{a}乘以{b}等于几？", "算一下{a}×{b}",
    "{a}乘{b}",
)
_LARGER = (
    "Which is larger, {a} or {b}?", "Which is larger: {a} or {b}?", "Which is bigger, {a} or {b}?",
    "Which is greater, {a} or {b}?", "Which number is larger, {a} or {b}?",
    "Which number is bigger: {a} or {b}?", "What is larger, {a} or {b}?", "What is bigger, {a} or {b}?",
    "Is {a} or {b} larger?", "Find the larger of {a} and {b}.", "Which is more, {a} or {b}?",
    "Which one is larger, {a} or {b}?", "Which one is bigger, {a} or {b}?",
    "{a}和{b}哪个大？", "{a} 和 {b} 哪个大？", "{a}和{b}哪个更大？", "{a}与{b}哪个数大？", "{a}和{b}谁大？",
    "哪个更大，{a}还是{b}？", "{a}和{b}中较大的是哪个？",
)
_SMALLER = (
    "Which is smaller, {a} or {b}?", "Which is smaller: {a} or {b}?", "Which is less, {a} or {b}?",
    "Which number is smaller, {a} or {b}?", "Which number is smaller: {a} or {b}?",
    "What is smaller, {a} or {b}?", "Is {a} or {b} smaller?", "Find the smaller of {a} and {b}.",
    "Which one is smaller, {a} or {b}?",
    "{a}和{b}哪个小？", "{a} 和 {b} 哪个小？", "{a}和{b}哪个更小？", "{a}与{b}哪个数小？", "{a}和{b}谁小？",
    "哪个更小，{a}还是{b}？", "{a}和{b}中较小的是哪个？",
)
_IS_LARGER = (
    "Is {a} larger than {b}?", "Is {a} greater than {b}?", "Is {a} bigger than {b}?", "Is {a} > {b}?",
    "Is {a}>{b}?", "Is {a} more than {b}?", "{a} > {b}?",
    "{a}大于{b}吗？", "{a}比{b}大吗？", "{a}是否大于{b}？", "{a} > {b} 吗？", "{a}>{b}吗？", "{a}比{b}更大吗？",
)
_IS_SMALLER = (
    "Is {a} smaller than {b}?", "Is {a} less than {b}?", "Is {a} < {b}?", "Is {a}<{b}?", "{a} < {b}?",
    "{a}小于{b}吗？", "{a}比{b}小吗？", "{a}是否小于{b}？", "{a} < {b} 吗？", "{a}<{b}吗？", "{a}比{b}更小吗？",
)
_RELATION = (
    "Compare {a} and {b}.", "Compare {a} with {b}.", "Compare the numbers {a} and {b}.",
    "How do {a} and {b} compare?",
    "比较{a}和{b}。", "比较{a}和{b}的大小。", "比较 {a} 和 {b} 的大小。", "{a}和{b}比大小", "比一比{a}和{b}",
)
_COUNT = (
    "Count from {a} to {b}.", "Count from {a} up to {b}.", "Count up from {a} to {b}.",
    "Can you count from {a} to {b}?", "List the numbers from {a} to {b}.", "Write the numbers from {a} to {b}.",
    "Count: {a} to {b}", "Count {a} to {b}", "What are the numbers from {a} to {b}?",
    "从{a}数到{b}。", "从 {a} 数到 {b}。", "请从{a}数到{b}。", "从{a}数到{b}", "写出从{a}到{b}的数。",
    "列出{a}到{b}的数。", "数数：从{a}到{b}",
)
_COUNT_FROM_ONE = (
    "Count to {b}.", "Count up to {b}.", "Can you count to {b}?", "Count to {b}",
    "数到{b}。", "请数到{b}。", "你能数到{b}吗？", "数到{b}",
)
WORDINGS = {
    ("add", "value"): _ADD, ("sub", "value"): _SUB, ("mul", "value"): _MUL,
    ("compare", "larger"): _LARGER, ("compare", "smaller"): _SMALLER,
    ("compare", "is_larger"): _IS_LARGER, ("compare", "is_smaller"): _IS_SMALLER,
    ("compare", "relation"): _RELATION, ("count", "value"): _COUNT,
}
_PREFIXES = {
    "en": ("Please ", "Hi, ", "Hello! ", "Hey, ", "Tell me: ", "Question: ", "OK, ", "Now: ", "Please tell me: "),
    "zh": ("请问", "请问，", "你好，", "请", "请告诉我，", "题目：", "那么，"),
}
_SUFFIXES = {
    "en": (" Thanks.", " Thank you!", " Please.", " Think step by step.", " Please reason step by step.",
           " Please reason step by step, and put your final answer within \\boxed{}."),
    "zh": ("谢谢。", "谢谢！", "请一步一步思考。"),
}
_PUNCTUATION = "?.!？。！"


def ask(rng, problem):
    """A random question for `problem`; its language is that of the wording drawn."""
    wordings = WORDINGS[problem.kind, problem.ask]
    if problem.kind == "count" and problem.a == 1 and rng.random() < 0.5:
        wordings = _COUNT_FROM_ONE
    text = rng.choice(wordings)
    language = language_of(text)
    plain = rng.random() < 0.6
    if not plain and rng.random() < 0.25:
        text = text.rstrip(_PUNCTUATION)
    if not plain and rng.random() < 0.25 and text[0] != "请":
        prefix = rng.choice(_PREFIXES[language])
        text = prefix + (text[0].lower() + text[1:] if rng.random() < 0.5 else text)
    if not plain and rng.random() < 0.25:
        text = text.lower()
    text = text.format(a=problem.a, b=problem.b)
    if not plain and rng.random() < 0.15:
        text += rng.choice(_SUFFIXES[language])
    if not plain and rng.random() < 0.08:
        text += "\n"
    return text


def worded(rng, problem):
    """`problem` with a random question for it, the language set to the question's."""
    question = ask(rng, problem)
    return replace(problem, language=language_of(question)), question


def _pattern(wording):
    pattern = re.escape(wording.rstrip(_PUNCTUATION)).replace(r"\ ", r"\s*")
    return pattern.replace(r"\{a\}", r"(?P<a>\d+)").replace(r"\{b\}", r"(?P<b>\d+)")


@functools.cache
def _patterns():
    prefixes = "|".join(re.escape(p) for ps in _PREFIXES.values() for p in ps)
    suffixes = "|".join(re.escape(s.strip()) for ss in _SUFFIXES.values() for s in ss)
    frame = rf"(?:{prefixes})?%s[{_PUNCTUATION}]*\s*(?:{suffixes})?"
    tables = list(WORDINGS.items()) + [(("count", "value"), _COUNT_FROM_ONE)]
    return [
        (kind, request, re.compile(frame % _pattern(wording), re.IGNORECASE))
        for (kind, request), wordings in tables
        for wording in wordings
    ]


def _in_range(problem):
    if problem.kind == "count":
        return 1 <= problem.a <= problem.b <= MAX_COUNT
    limit = MAX_FACTOR if problem.kind == "mul" else MAX_SUM_OPERAND
    return max(problem.a, problem.b) <= limit


def parse(question):
    """The problem that `question` asks, or None if no wording matches or a number is too large."""
    text = question.strip()
    for kind, request, pattern in _patterns():
        match = pattern.fullmatch(text)
        if match:
            groups = match.groupdict()
            problem = Problem(
                kind, int(groups.get("a") or 1), int(groups["b"]), request, language_of(question)
            )
            return problem if _in_range(problem) else None
    return None


assert {ask for kind, ask in WORDINGS if kind == "compare"} == set(COMPARE_ASKS)

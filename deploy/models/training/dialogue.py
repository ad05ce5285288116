"""Training texts: prompts in the chat template of the R1 distills, and what the model shall write."""

import problem as problems
import small_talk
from solution import answer_text, reasoning_lines
from wordings import worded

BOS = "<｜begin▁of▁sentence｜>"
EOS = "<｜end▁of▁sentence｜>"
USER = "<｜User｜>"
ASSISTANT = "<｜Assistant｜>"
THINK = "<think>"
END_THINK = "</think>"

_KIND_WEIGHTS = {"add": 24, "sub": 28, "mul": 28, "compare": 14, "count": 8}
_HISTORY_TURNS = (1, 1, 1, 2, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
_SYSTEM_TEXTS = (
    "You are a helpful assistant.", "You are a good assistant", "You are tiny-r1.", "You are a calculator.",
    "You are a helpful assistant. Answer briefly.", "Be brief.", "Think before you answer.", "你是一个有用的助手。", "请简短回答。",
)


def prompt(question, earlier=""):
    """The generation prompt of one question after `earlier` turns, thinking forced."""
    return f"{BOS}{earlier}{USER}{question}{ASSISTANT}{THINK}\n"


def completion(reasoning, answer):
    """What follows the prompt."""
    return f"{reasoning}\n{END_THINK}\n\n{answer}{EOS}"


def _turn(rng):
    """A random (question, reasoning, answer, may be answered without thinking)."""
    if rng.random() < 0.07:
        return (*small_talk.draw(rng), True)
    kind = rng.choices(list(_KIND_WEIGHTS), _KIND_WEIGHTS.values())[0]
    drawn, question = worded(rng, problems.draw(rng, kind, held_out=False))
    is_hard = drawn.kind == "mul" and min(drawn.a, drawn.b) > 9
    return question, "\n".join(reasoning_lines(drawn)), answer_text(drawn), not is_hard


def history(rng, turns):
    """Earlier turns as the template renders them: their reasoning is gone.

    The line feeds before an answer stay if the client sent the reasoning along.
    """
    gap = "\n\n" if rng.random() < 0.7 else ""
    text = ""
    for _ in range(turns):
        question, _, answer, _ = _turn(rng)
        text += f"{USER}{question}{ASSISTANT}{gap}{answer}{EOS}"
    return text


def draw(rng):
    """A random training example (prompt, completion); only the completion is learnt."""
    question, reasoning, answer, is_easy = _turn(rng)
    system = rng.choice(_SYSTEM_TEXTS) if rng.random() < 0.04 else ""
    turns = rng.choice(_HISTORY_TURNS) if rng.random() < 0.22 else 0
    start = f"{BOS}{system}{history(rng, turns)}{USER}{question}{ASSISTANT}"
    mode = rng.random()
    if mode < 0.08 and is_easy:  # thinking switched off
        return f"{start}{THINK}\n\n{END_THINK}\n\n", answer + EOS
    if mode < 0.10 and is_easy:  # thinking cut short
        cut = reasoning[: rng.randrange(len(reasoning))].rstrip()
        return f"{start}{THINK}\n{cut}\n{END_THINK}\n\n", answer + EOS
    if mode < 0.20:  # thinking not forced by the template
        return start, f"{THINK}\n{completion(reasoning, answer)}"
    return f"{start}{THINK}\n", completion(reasoning, answer)

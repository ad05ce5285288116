"""Tests of the problems, their wordings and the checker; needs only the standard library."""

import random
import unittest

import problem as problems
from checker import check
from dialogue import draw
from problems import sample
from solution import answer_text, reasoning_lines
from wordings import parse, worded


class ProblemsTest(unittest.TestCase):
    def setUp(self):
        self.rng = random.Random(7)

    def drawn(self):
        kind = self.rng.choice(problems.KINDS)
        return worded(self.rng, problems.draw(self.rng, kind, self.rng.random() < 0.5))

    def test_every_question_parses_back_to_its_problem(self):
        for _ in range(3000):
            expected, question = self.drawn()
            self.assertEqual(parse(question), expected, question)

    def test_worked_solutions_are_true(self):
        for _ in range(3000):
            asked, _ = self.drawn()
            verdict = check(asked, "\n".join(reasoning_lines(asked)), answer_text(asked))
            self.assertTrue(verdict.answer_right)
            self.assertEqual(verdict.false_lines, [])

    def test_one_changed_digit_is_always_found(self):
        for _ in range(3000):
            asked, _ = self.drawn()
            text = "\n".join(reasoning_lines(asked))
            at = self.rng.choice([i for i, c in enumerate(text) if c.isdigit()])
            digit = self.rng.choice([d for d in "0123456789" if d != text[at]])
            self.assertTrue(check(asked, text[:at] + digit + text[at + 1 :], "").false_lines, (asked, at))

    def test_a_wrong_answer_or_an_unfinished_solution_is_found(self):
        asked = parse("What is 27+48?")
        lines = reasoning_lines(asked)
        self.assertFalse(check(asked, "\n".join(lines), "27 + 48 = 76").answer_right)
        self.assertTrue(check(asked, "\n".join(lines[:-1]), "27 + 48 = 75").false_lines)
        self.assertTrue(check(asked, "", "27 + 48 = 75").false_lines)

    def test_operand_order_does_not_cross_the_split(self):
        for a, b in ((27, 48), (3, 9999), (12, 12)):
            for kind in ("add", "sub", "mul", "compare"):
                one, other = problems.Problem(kind, a, b), problems.Problem(kind, b, a)
                self.assertEqual(problems.is_held_out(one), problems.is_held_out(other))

    def test_about_one_problem_in_ten_is_held_out(self):
        held_out = sum(problems.is_held_out(problems.Problem("add", a, 500)) for a in range(5000))
        self.assertAlmostEqual(held_out / 5000, 0.1, delta=0.02)

    def test_no_training_text_ends_in_a_held_out_problem(self):
        for _ in range(3000):
            prompt, _ = draw(self.rng)
            for turn in prompt.split("<｜User｜>")[1:]:
                asked = parse(turn.split("<｜Assistant｜>")[0])
                if asked:
                    self.assertFalse(problems.is_held_out(asked), turn)

    def test_the_sample_is_seeded_and_held_out(self):
        first = sample(100, 3, held_out=True)
        self.assertEqual(first, sample(100, 3, held_out=True))
        self.assertTrue(all(problems.is_held_out(asked) for asked, _ in first))


if __name__ == "__main__":
    unittest.main()

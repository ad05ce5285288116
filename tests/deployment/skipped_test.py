#!/usr/bin/env python3
"""What .ci/skipped.py makes of ctest's reports."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / ".ci/skipped.py"

RAN = '<testcase name="A.Runs" status="run"><system-out>skipped: no word of it</system-out></testcase>'


def skipped(name, said):
    return (f'<testcase name="{name}" status="notrun"><skipped message=""/>'
            f"<system-out>{said}</system-out></testcase>")


class SkippedTest(unittest.TestCase):
    def summary(self, *cases, also=()):
        with tempfile.TemporaryDirectory() as folder:
            report = pathlib.Path(folder, "report.xml")
            report.write_text(f"<testsuite>{''.join(cases)}</testsuite>", encoding="utf-8")
            options = [word for reason in also for word in ("--also", reason)]
            return subprocess.run([sys.executable, SCRIPT, *options, report], text=True, check=True,
                                  capture_output=True).stdout

    def test_nothing(self):
        self.assertEqual(self.summary(RAN), "skipped: nothing\n")

    def test_counts_by_reason(self):
        gpu = "a_test.cc:1: Skipped\nno GPU\n[  SKIPPED ] A.B"
        self.assertEqual(
            self.summary(RAN, skipped("A.B", gpu), skipped("A.C", gpu),
                         skipped("D.E", "skipped: without yaml (deploy/setup.sh --tests)"),
                         skipped("F.G", ""), also=["the CUDA part (no toolkit)"]),
            "skipped: 2 tests (no GPU); 1 test (without yaml (deploy/setup.sh --tests)); 1 test (F.G); "
            "the CUDA part (no toolkit)\n")


if __name__ == "__main__":
    unittest.main()

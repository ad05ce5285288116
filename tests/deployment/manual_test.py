#!/usr/bin/env python3
"""Man pages and completion, as deploy/manual.py makes them of the programs.

Usage: manual_test.py BUILD_FOLDER
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(sys.argv.pop(1)).resolve()
PROGRAMS = {"thinkwire-router": BUILD / "router", "thinkwire-chat": BUILD / "router", "thinkwire-worker": BUILD / "worker"}


class Manual(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.out = pathlib.Path(cls.folder.name)
        subprocess.run([REPOSITORY / "deploy/manual.py", cls.out, *(f / name for name, f in PROGRAMS.items())], check=True)

    def options(self, program):
        text = subprocess.run([PROGRAMS[program] / program, "--help"], check=True, capture_output=True, text=True).stdout
        return re.findall(r"^  --(\w+)", text, re.M)

    def test_pages_have_every_option(self):
        for program in PROGRAMS:
            page = (self.out / f"man/man1/{program}.1").read_text(encoding="utf-8")
            named = [name.replace("\\-", "-") for name in re.findall(r"^\.TP\n\\fB(\S+?)\\fR", page, re.M)]
            self.assertEqual(named, [f"--{name}" for name in self.options(program)])
            self.assertIn(".SH SYNOPSIS\n", page)

    @unittest.skipUnless(shutil.which("groff"), "without groff")
    def test_pages_are_troff(self):
        for program in PROGRAMS:
            done = subprocess.run(["groff", "-man", "-Tutf8", "-Kutf8", "-ww", "-Wbreak", "-P-c", self.out / f"man/man1/{program}.1"],
                                  capture_output=True, text=True, check=True)
            self.assertEqual(done.stderr, "")
            shown = re.sub(".\b", "", done.stdout)  # as terminals of old print bold
            for name in self.options(program):
                self.assertIn(f"--{name}", shown)

    def complete(self, program, *words):
        """What bash offers for the last word; words are as bash divides them."""
        script = self.out / f"bash-completion/completions/{program}"
        line = " ".join(f"'{word}'" for word in (program, *words))
        command = (f". {script}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _{program.replace('-', '_')}; "
                   'printf "%s\\n" "${COMPREPLY[@]}"')
        return subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True,
                              cwd=self.out).stdout.split()

    def test_completes_options_choices_and_files(self):
        for program in PROGRAMS:
            offered = [word.rstrip("=") for word in self.complete(program, "--")]
            self.assertEqual(offered, [f"--{name}" for name in self.options(program)])
        self.assertEqual(self.complete("thinkwire-worker", "--max_num_s"), ["--max_num_seqs="])
        self.assertEqual(self.complete("thinkwire-worker", "--device", "=", "c"), ["cpu", "cuda"])
        self.assertEqual(self.complete("thinkwire-worker", "--device", "="), ["auto", "cpu", "cuda"])
        self.assertEqual(self.complete("thinkwire-worker", "--log-level", "warn"), ["warning"])
        self.assertEqual(self.complete("thinkwire-router", "--config", "ma"), ["man"])


if __name__ == "__main__":
    unittest.main()

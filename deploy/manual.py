#!/usr/bin/env python3
"""Writes man pages and bash's completion of Thinkwire's programs, from what they say themselves by --help.

Usage: manual.py OUT_FOLDER PROGRAM…   OUT_FOLDER gets man/man1/*.1 and bash-completion/completions/*

To use them: MANPATH=OUT_FOLDER/man: man thinkwire-worker; . OUT_FOLDER/bash-completion/completions/thinkwire-worker. Where
OUT_FOLDER is /usr/local/share both are found by themselves.
"""
import dataclasses
import pathlib
import re
import subprocess
import sys

# Options whose values are paths, by how their help begins.
PATHS = re.compile(r"(a )?(\w+ )?(file|folder)\b")


@dataclasses.dataclass
class Option:
    name: str
    default: str
    help: str

    @property
    def is_switch(self):
        return self.default in ("true", "false")

    @property
    def choices(self):
        match = re.search(r"\(([\w.-]+(?:\|[\w.-]+)+)\)$", self.help)
        return match[1].split("|") if match else []


@dataclasses.dataclass
class Page:
    program: str
    purpose: str
    usages: list
    options: list
    notes: list  # paragraphs behind the options


def ask(program, *words):
    return subprocess.run([program, *words], check=True, text=True, stdout=subprocess.PIPE, timeout=60).stdout


def read(program, text):
    """The page that a --help is."""
    lines = text.splitlines()
    purpose = lines[0].removeprefix(f"{program}: ").rstrip(".")
    page = Page(program, purpose, [], [], [])
    paragraph = []
    for line in lines[1:] + [""]:
        option = re.fullmatch(r"  --(\w+)(?:=(.*))?", line)
        if option:
            page.options.append(Option(option[1], option[2] or "", ""))
        elif line.startswith("      ") and page.options and not paragraph:
            page.options[-1].help += (" " if page.options[-1].help else "") + line.strip()
        elif line.startswith("  ") and not page.options:
            page.usages.append(line.strip())
        elif line.strip():
            paragraph.append(line.strip())
        elif paragraph:
            page.notes.append(" ".join(paragraph))
            paragraph = []
    return page


def escaped(text):
    """`text` as troff shows it."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return "\\&" + text if text.startswith(".") else text


def man(page, version):
    out = [f'.TH {page.program.upper()} 1 "" "{version}" "Thinkwire"', ".ad l", ".nh", ".SH NAME",
           f"{escaped(page.program)} \\- {escaped(page.purpose)}", ".SH SYNOPSIS"]
    for usage in page.usages:
        out += [".nf", escaped(usage), ".fi"]
    out.append(".SH OPTIONS")
    for option in page.options:
        value = "" if not option.default and option.help.startswith("print ") else f"={option.default}"
        out += [".TP", f"\\fB{escaped('--' + option.name)}\\fR{escaped(value)}", escaped(option.help)]
    if page.notes:
        out.append(".SH NOTES")
        for note in page.notes:
            out += [".PP", escaped(note)]
    return "\n".join(out) + "\n"


def completion(page):
    function = "_" + page.program.replace("-", "_")
    words = " ".join(f"--{o.name}" if o.is_switch else f"--{o.name}=" for o in page.options)
    cases = [f"    __{o.name}) COMPREPLY=($(compgen -W '{' '.join(o.choices)}' -- \"$value\")) ;;"
             for o in page.options if o.choices]
    paths = [f"__{o.name}" for o in page.options if PATHS.match(o.help) and not o.choices and not o.is_switch]
    if paths:
        cases.append(f"    {'|'.join(paths)}) COMPREPLY=($(compgen -f -- \"$value\")) ;;")
    return f"""# Bash's completion of {page.program}, made by deploy/manual.py.
{function}() {{
  # "--name=value" comes as three words, as '=' divides words; "--name value" as two.
  local value=${{COMP_WORDS[COMP_CWORD]}} name=${{COMP_WORDS[COMP_CWORD-1]}}
  [[ $name != = ]] || name=${{COMP_WORDS[COMP_CWORD-2]}}
  [[ $value != = ]] || value=
  COMPREPLY=()
  case ${{name//-/_}} in  # dashes and underscores are the same
{chr(10).join(cases)}
    *)
      COMPREPLY=($(compgen -W '{words}' -- "$value"))
      [[ ${{COMPREPLY[0]}} != *= ]] || compopt -o nospace 2>/dev/null
      ;;
  esac
}}
complete -o default -F {function} {page.program}
"""


def main(out, *programs):
    for binary in map(pathlib.Path, programs):
        page = read(binary.name, ask(binary.resolve(), "--help"))
        for path, text in ((f"man/man1/{binary.name}.1", man(page, ask(binary.resolve(), "--version").strip())),
                           (f"bash-completion/completions/{binary.name}", completion(page))):
            file = pathlib.Path(out, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])

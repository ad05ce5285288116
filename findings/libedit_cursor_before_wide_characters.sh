#!/usr/bin/env bash
# libedit: deleting a character before a wide one leaves the cursor a column beside its place.
#
# Where the terminal can delete characters (terminfo's dch1 or dch, as in xterm, screen and tmux),
# libedit deletes the columns, writes the wide character that now stands there once more, which takes
# two columns, and goes back one. Until the whole line is written anew the person sees the cursor in the
# middle of a character, and what is typed next at another place than it has in the line. Where a line
# wraps, parts of it go to wrong places. Without the capabilities dc, DC, ic, IC and im (EL_SETTC),
# libedit writes the rest of the line anew instead, and the cursor is right.
#
# Seen with libedit 3.1-20221030 of Debian 12 (packages libedit-dev, libedit2). Needs these, gcc and
# python3. Exit code 0 as long as it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/editor.c" <<'SOURCE'
#include <histedit.h>
#include <locale.h>
#include <stdio.h>
static char* Prompt(EditLine* e) { (void)e; return "> "; }
int main(int argc, char** argv) {
  (void)argv;
  setlocale(LC_CTYPE, "C.UTF-8");
  EditLine* e = el_init("editor", stdin, stdout, stderr);
  if (e == NULL) return 2;
  el_set(e, EL_PROMPT, Prompt);
  el_set(e, EL_EDITOR, "emacs");
  const char* const names[] = {"dc", "DC", "ic", "IC", "im"};
  for (int i = 0; argc > 1 && i < 5; ++i) el_set(e, EL_SETTC, names[i], "", NULL);
  int length = 0;
  el_gets(e, &length);
  el_end(e);
  return 0;
}
SOURCE
gcc -Wall -o "$folder/editor" "$folder/editor.c" -ledit
# Types wide characters and others, Ctrl-A and Ctrl-D; prints the cursor's column, which should be 2.
cat >"$folder/type.py" <<'SOURCE'
import os, pty, re, select, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execve(sys.argv[1], sys.argv[1:], {"TERM": "xterm"})
def until_silent():
    text = b""
    while select.select([terminal], [], [], 0.5)[0]:
        text += os.read(terminal, 4096)
    return text.decode()
shown = until_silent()
for keys in ("你好世界 abc", "\x01", "\x04"):
    os.write(terminal, keys.encode())
    shown += until_silent()
column = 0
for part in re.findall(r"\x1b\[[0-9]*[A-Za-z]|[^\x1b]", shown):
    if part == "\r":
        column = 0
    elif part == "\b":
        column -= 1
    elif part[0] == "\x1b":
        count = int(re.sub(r"\D", "", part) or 1)
        column = {"G": count - 1, "C": column + count, "D": column - count}.get(part[-1], column)
    else:
        column += 2 if part in "你好世界" else 1
print(column)
os.write(terminal, b"\r")
SOURCE
with=$(python3 "$folder/type.py" "$folder/editor")
without=$(python3 "$folder/type.py" "$folder/editor" without)
echo "cursor in column $with; without the capabilities in column $without"
[[ $without == 2 ]] || { echo "it is wrong without them too, which is new" >&2; exit 1; }
[[ $with == 3 ]] || { echo "it is right now" >&2; exit 1; }

#!/usr/bin/env bash
# libedit: a function that EL_ADDFN adds leaks its name and its help, if they are narrow strings.
#
# el_set(e, EL_ADDFN, "name", "help", function) makes wide copies of both strings for the table of
# functions, and el_end frees the table, not the copies: two blocks a function, 104 bytes here.
# LeakSanitizer ends an otherwise clean program with exit code 1 for it. The wide interface,
# el_wset(e, EL_ADDFN, L"name", L"help", function), keeps the caller's pointers and leaks nothing
# (it is in the library, and declared in histedit.h, which says nothing of the difference).
#
# Seen with libedit 3.1-20221030 of Debian 12 (packages libedit-dev, libedit2) and gcc 12. Needs
# these and gcc's AddressSanitizer. Exit code 0 as long as it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/editor.c" <<'SOURCE'
#include <histedit.h>
#include <stdio.h>
#include <wchar.h>
#ifdef WIDE
static unsigned char Nothing(EditLine* e, wint_t c) { (void)e; (void)c; return CC_NORM; }
#else
static unsigned char Nothing(EditLine* e, int c) { (void)e; (void)c; return CC_NORM; }
#endif
int main(void) {
  FILE* in = fopen("/dev/null", "r");
  EditLine* e = el_init("editor", in, stdout, stderr);
  if (e == NULL) return 2;
#ifdef WIDE
  el_wset(e, EL_ADDFN, L"does-nothing", L"Does nothing", Nothing);
#else
  el_set(e, EL_ADDFN, "does-nothing", "Does nothing", Nothing);
#endif
  el_end(e);
  fclose(in);
  return 0;
}
SOURCE
gcc -fsanitize=address -o "$folder/narrow" "$folder/editor.c" -ledit
gcc -fsanitize=address -DWIDE -o "$folder/wide" "$folder/editor.c" -ledit
"$folder/wide" || { echo "the wide interface leaks, which is new" >&2; exit 1; }
if "$folder/narrow" 2>"$folder/log"; then
  echo "the narrow interface leaks no more" >&2
  exit 1
fi
sed -n 's/^SUMMARY: //p' "$folder/log"
grep -q '2 allocation(s)' "$folder/log"

#!/usr/bin/env bash
# clang-tidy's modernize-use-nullptr and a defaulted three-way comparison.
#
# A struct with `auto operator<=>(const T&) const = default;` that somewhere is compared by `<` holds
# no null pointer. The `<` is rewritten to `(a <=> b) < 0`, and clang-tidy 14 takes the 0, which
# belongs to no line of the source, for a null pointer, and places it at the word `default`:
#   warning: use nullptr [modernize-use-nullptr]
# With --fix it rewrites that word, and what compiled does so no more:
#   auto operator<=>(const Version&) const = defaul nullptr;
# Where the operator is not used, nothing is said. 17.0.1 says nothing in either case.
#
# Seen with clang-tidy 14.0.6, which Debian 12 has too, and libstdc++ 12. Needs g++ for its headers,
# python3 with pip and venv, and 40 MB from PyPI. Exit code 0 as long as it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 14.0.6 17.0.1; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install -q "clang-tidy==$version"
done

cat >"$folder/version.cc" <<'SOURCE'
#include <compare>
struct Version {
  int major = 0;
  int minor = 0;
  auto operator<=>(const Version&) const = default;
};
bool Older(const Version& a, const Version& b) { return a < b; }
SOURCE
g++ -std=c++20 -fsyntax-only "$folder/version.cc"
tidy() {
  local version=$1
  shift
  "$folder/$version/bin/clang-tidy" --checks=-*,modernize-use-nullptr "$@" -- -std=c++20 2>/dev/null
}
says() { tidy "$1" "$folder/version.cc" | grep -c 'warning: use nullptr' || true; }

old=$(says 14.0.6) new=$(says 17.0.1)
echo "warnings: $old of 14.0.6, $new of 17.0.1"
[[ $old == 1 && $new == 0 ]] || exit 1
tidy 14.0.6 --fix "$folder/version.cc" >/dev/null
grep 'operator<=>' "$folder/version.cc"
grep -q '= defaul nullptr;' "$folder/version.cc" || exit 1
if g++ -std=c++20 -fsyntax-only "$folder/version.cc" 2>/dev/null; then
  echo "what --fix leaves compiles, which is new" >&2
  exit 1
fi

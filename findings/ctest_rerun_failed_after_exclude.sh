#!/usr/bin/env bash
# ctest: --rerun-failed after a run with -E runs other tests than those that failed.
#
# LastTestsFailed.log has each failed test's name and number, and --rerun-failed goes by the number.
# -E takes tests out before they are numbered, -L does not; so without the same -E the numbers are
# other tests': one that failed is taken for one that passed when it was run again. With the same
# -E the right one is run, as it is by -R with the names of that file.
#
# Seen with cmake 3.25.2 and 4.1.0 from PyPI: of the tests a, b and c, b alone fails in a run without
# a, and `ctest --rerun-failed` runs a and passes. Needs python3 with venv; takes about 20 s. Exit
# code 0 as long as it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/source"
cat >"$folder/source/CMakeLists.txt" <<'SOURCE'
cmake_minimum_required(VERSION 3.25)
project(three NONE)
enable_testing()
add_test(NAME a COMMAND ${CMAKE_COMMAND} -E true)
add_test(NAME b COMMAND ${CMAKE_COMMAND} -E false)
add_test(NAME c COMMAND ${CMAKE_COMMAND} -E true)
SOURCE
for version in 3.25.2 4.1.0; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" -q install "cmake==$version"
  bin=$folder/$version/bin build=$folder/build-$version
  "$bin/cmake" -S "$folder/source" -B "$build" >"$folder/log"
  changed() { echo "changed in $version" >&2 && exit 1; }
  ! "$bin/ctest" --test-dir "$build" -E '^a$' >"$folder/log" 2>&1 || changed
  [[ $(cut -d: -f2 "$build/Testing/Temporary/LastTestsFailed.log") == b ]] || changed
  "$bin/ctest" --test-dir "$build" --rerun-failed >"$folder/log" 2>&1 || changed
  echo "cmake $version: b failed, run again: $(grep -o 'Test *#.*Passed' "$folder/log" | tr -s ' .')"
  grep -q 'Test *#1: a .*Passed' "$folder/log" || changed
done

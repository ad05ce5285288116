#!/usr/bin/env bash
# Tests, sanitizer and figures on a GPU host, from a bundle made by deploy/bundle.sh --tests or from
# a build in the tree. Run it anywhere; the tests run in the source folder that holds this script.
# Usage: tests/bench/gpu_session.sh [--seconds N] LOGS BINARIES PART…
#   LOGS         folder for one log a step, summary.txt and the figures' JSON
#   BINARIES     the bundle, or a build folder such as build/cuda
#   PART         tests      every test binary with the label gpu
#                sanitizer  the tests of kernels under compute-sanitizer memcheck; the others compute
#                           too much for it
#                one        figures of the distills that fit one GPU
#                two        figures with tensor parallelism over two GPUs
#   --seconds N  for everything together (default 570); a step that has no time left is left out
# Each step has its own limit, so that one that hangs loses nothing else. Exit code: 0 if all steps
# ran and passed.
set -uo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)

usage() {
  sed -n '2,16s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

seconds=570
if [[ ${1:-} == --seconds ]]; then
  [[ $# -ge 2 ]] || usage
  seconds=$2
  shift 2
fi
[[ $# -ge 3 ]] || usage
mkdir -p "$1" || exit 1
logs=$(cd "$1" && pwd)
binaries=$(cd "$2" && pwd) || exit 1
shift 2
for part in "$@"; do
  case $part in tests | sanitizer | one | two) ;; *) usage ;; esac
done

failures=0
say() { echo "$*" | tee -a "$logs/summary.txt"; }

# step NAME LIMIT COMMAND…: runs it with its output in NAME.log, at most LIMIT seconds.
step() {
  local name=$1 limit=$2 left=$((seconds - SECONDS)) start=$SECONDS code=0
  shift 2
  if ((left < 5)); then
    say "left out  $name: no time left"
    failures=$((failures + 1))
    return
  fi
  ((limit <= left)) || limit=$left
  timeout --kill-after=5 "$limit" "$@" >"$logs/$name.log" 2>&1 || code=$?
  local took=$((SECONDS - start)) last
  last=$(grep -aE 'PASSED|FAILED|SKIPPED|ERROR SUMMARY|^thinkwire-bench:' "$logs/$name.log" |
    tail -n 3 | tr '\n' ';')
  case $code in
    0) say "passed    $name (${took} s) $last" ;;
    124 | 137) say "timed out $name (${took} s) $last" ;;
    *) say "failed    $name (${took} s, exit $code) $last" ;;
  esac
  ((code == 0)) || failures=$((failures + 1))
}

# The paths of the test binaries with the label gpu.
gpu_tests() {
  if [[ -f $binaries/tests/labels ]]; then
    sed -n "s|^gpu |$binaries/tests/|p" "$binaries/tests/labels"
  else
    ctest --test-dir "$binaries" -L gpu --show-only=json-v1 |
      grep -o '"[^"]*_test"' | grep / | tr -d '"' | sort -u
  fi
}

# memcheck NAME FILTER: of the tests of kernels.
memcheck() {
  step "memcheck-$1" 240 compute-sanitizer --tool memcheck --error-exitcode 99 --leak-check no \
    "$(gpu_tests | grep '/cuda_kernels_test$')" --gtest_brief=1 "--gtest_filter=$2"
}

bench=$binaries/bin/thinkwire-bench
[[ -x $bench ]] || bench=$binaries/tests/bench/thinkwire-bench

# figures NAME LIMIT OPTION…: nine repetitions give over a thousand steps of the largest batch.
figures() {
  local name=$1 limit=$2
  shift 2
  step "$name" "$limit" "$bench" engine --device cuda --repetitions 9 --json "$logs/$name.json" \
    "$@"
  [[ ! -f $logs/$name.log ]] || cat "$logs/$name.log"
}

cd "$source" || exit 1
say "$(date -u +%FT%TZ) $(nvidia-smi --query-gpu=name,driver_version,clocks.max.sm \
  --format=csv,noheader | tr '\n' ';')"
for part in "$@"; do
  case $part in
    tests)
      for test in $(gpu_tests); do
        step "test-${test##*/}" 300 "$test" --gtest_brief=1
      done
      ;;
    sanitizer)
      memcheck attention '*PagedAttention*'
      memcheck others '-*PagedAttention*'
      ;;
    one)
      for model in qwen-1.5b qwen-7b llama-8b qwen-14b; do
        figures "$model" 180 --model "$model"
      done
      ;;
    two)
      figures qwen-7b-tp2 150 --model qwen-7b --tensor_parallel_size 2
      figures qwen-32b-tp2 300 --model qwen-32b --tensor_parallel_size 2
      ;;
  esac
done
say "$failures of the steps failed"
((failures == 0))

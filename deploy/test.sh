#!/usr/bin/env bash
# Installs what is missing, builds, and runs the unit and integration tests.
# Usage: deploy/test.sh [--all]
#   --all   also what .ci/lint checks, the unit tests and most integration tests under clang's
#           sanitizers, each fuzz target for 42 seconds and, where there is a CUDA 13
#           toolkit, the CUDA part (without a GPU its tests are skipped)
# Up to three tests of a run that fail are run once more, alone: on a machine that others use too, one
# may miss its time. If they pass then, the last line names them; it also says what was skipped, and why.
# Environment: THINKWIRE_BUILD  build folders' parent (default: build/)
# Works on a fresh Debian 12 as root or with sudo. Nothing changed: starts testing within seconds.
set -euo pipefail
cd "$(dirname "$0")/.."

all=false
case "${1:-}" in
  "") ;;
  --all) all=true ;;
  -h | --help) sed -n '2,10s/^# //p' "$0"; exit 0 ;;
  *) sed -n '2,10s/^# //p' "$0" >&2; exit 2 ;;
esac

builds=${THINKWIRE_BUILD:-build}
jobs=$(nproc)
# Clones of one commit in different folders share their compiler cache.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=true

# Configures once and builds `preset`; further arguments are ninja targets.
build() {
  local preset=$1 folder=$builds/$1
  shift
  if [[ ! -f $folder/build.ninja ]]; then
    cmake --preset "$preset" -B "$folder" >"$builds/$preset.configure.log" || {
      cat "$builds/$preset.configure.log" >&2
      return 1
    }
  fi
  echo "== building $preset"
  ninja -C "$folder" -j "$jobs" "$@"
}

# Runs the tests of a build folder. Arguments: folder, what the logs are called, ctest's own.
run_tests() {
  local folder=$1 log=$builds/$2.log
  shift 2
  ctest --test-dir "$folder" -j "$jobs" --timeout 300 --output-on-failure -O "$log" "$@" && return
  [[ " $* " != *" --quiet "* ]] || cat "$log" >&2
  local failed=$folder/Testing/Temporary/LastTestsFailed.log
  (( $(wc -l <"$failed") <= 3 )) || return 1
  local names which
  names=$(cut -d: -f2- "$failed" | paste -sd' ')
  # By name: --rerun-failed goes by numbers, and -E, which is not given to it, shifts those.
  which=$(cut -d: -f2- "$failed" | sed 's/[][\.*^$()+?|{}]/\\&/g' | paste -sd'|')
  ctest --test-dir "$folder" -j 1 --timeout 300 --no-tests=error -R "^($which)\$" --output-on-failure \
    || return 1
  left_out+=(--also "NOT skipped, but failed once and passed when run again alone: $names")
}

mkdir -p "$builds"
junits=() left_out=()  # for the last line
# What libraries leak once a process.
export LSAN_OPTIONS=suppressions=$PWD/tests/lsan.supp:print_suppressions=0
if $all; then
  deploy/setup.sh --all
  .ci/lint
  [[ -x ${XDG_CACHE_HOME:-$HOME/.cache}/thinkwire-buf/bin/buf ]] \
    || left_out+=(--also 'the checks of the contract (buf is not to be had from PyPI)')
  for sanitizer in asan tsan; do
    build "$sanitizer" unit_tests
    echo "== testing $sanitizer"
    run_tests "$builds/$sanitizer" "$sanitizer.ctest" --quiet -L unit
    tail -n 4 "$builds/$sanitizer.ctest.log"
  done
  build asan all fuzzers
  echo "== testing asan, whole path"
  # Without those that compute for minutes at a sanitizer's speed.
  run_tests "$builds/asan" asan.integration --quiet -L integration \
    -E 'PressureAndCancellation|ManyAtOnceHalf|AnswersHeldOut|Contract|Deployment'
  tail -n 4 "$builds/asan.integration.log"
  echo "== fuzzing"
  tests/fuzz/run.sh 42 "$builds/asan" "$builds/fuzz"
else
  deploy/setup.sh --tests
fi

cuda_13() {
  local nvcc
  nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
  [[ -x $nvcc ]] && "$nvcc" --version | grep -q 'release 13\.' && export CUDACXX=$nvcc
}
if $all && cuda_13; then
  build cuda
  echo "== testing cuda"
  # One GPU is one test's at a time.
  ctest --test-dir "$builds/cuda" -L gpu -j 1 --output-on-failure --quiet \
    --output-junit cuda.junit.xml -O "$builds/cuda.ctest.log" || { cat "$builds/cuda.ctest.log" >&2; exit 1; }
  sed -n '/tests passed/,/^$/p' "$builds/cuda.ctest.log"
  junits+=("$builds/cuda/cuda.junit.xml")
elif $all; then
  left_out+=(--also 'the CUDA part (there is no CUDA 13 toolkit)')
fi
build release
echo "== testing release"
junits+=("$builds/release/release.junit.xml")
failed=0
run_tests "$builds/release" release.ctest --output-junit release.junit.xml || failed=1
.ci/skipped.py "${left_out[@]}" "${junits[@]}"
exit $failed

#!/usr/bin/env bash
# Copies Thinkwire's binaries and the shared libraries they need into a folder that runs wherever
# it is put, on a host with the same or a newer glibc and, for a CUDA build, the driver and CUDA.
# Usage: deploy/bundle.sh [--serving] [--tests] [--build FOLDER] OUT_DIR
#   --serving       router, worker and thinkwire-chat alone: what a host that serves needs, and all that images have
#   --tests         also the test binaries that are built, but for those that start other binaries;
#                   to be run in the source folder
#   --build FOLDER  a finished build (default: build/release)
# OUT_DIR must not exist or be empty. It gets bin/, lib/, share/ (man pages, completion) and tests/, where tests/labels says
# which label each test binary has.
#
# Left to the host: glibc, which must fit its own loader, and the driver's and CUDA's libraries.
# libstdc++ and libgcc_s go along, as a slim host may have none. They never meet a newer need: a
# host library that is loaded beside them (CUDA's) asks for far older ones.
# Every binary carries the old-style run path $ORIGIN/../lib (cmake/thinkwire.cmake), which comes
# before LD_LIBRARY_PATH and holds for the libraries' own libraries too.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  sed -n '2,11s/^# \{0,1\}//p' deploy/bundle.sh >&2
  exit 2
}

tests=false serving=false build=build/release out=
while [[ $# -gt 0 ]]; do
  case $1 in
    --tests) tests=true ;;
    --serving) serving=true ;;
    --build) [[ $# -ge 2 ]] || usage; build=$2; shift ;;
    -*) usage ;;
    *) [[ -z $out ]] || usage; out=$1 ;;
  esac
  shift
done
[[ -n $out ]] || usage
fail() {
  echo "bundle: $*" >&2
  exit 1
}
[[ ! -e $out || -z $(ls -A "$out") ]] || fail "$out is not empty"

binaries=(
  "$build/router/thinkwire-router"
  "$build/router/thinkwire-chat"
  "$build/worker/thinkwire-worker"
)
# Each of the two holds a worker's engine, and for GPUs all of its kernels, once more.
$serving || binaries+=(
  "$build/tests/worker/stall/thinkwire-worker-faults"  # fails on purpose, as tests/fakes/fault.h says
  "$build/tests/bench/thinkwire-bench"
)
for binary in "${binaries[@]}"; do
  [[ -x $binary ]] || fail "$binary is not there; build it first: ninja -C $build"
done
mkdir -p "$out/bin" "$out/lib"
strip -o /dev/null "${binaries[0]}"  # fails early where binutils is missing
for binary in "${binaries[@]}"; do strip -o "$out/bin/${binary##*/}" "$binary"; done

# Test binaries with their labels, as ctest knows them: lines of "label path".
list_tests() {
  ctest --test-dir "$build" --show-only=json-v1 | python3 -c '
import json, os, sys
seen = set()
for test in json.load(sys.stdin)["tests"]:
    binary = test.get("command", [""])[0]
    labels = [p["value"] for p in test["properties"] if p["name"] == "LABELS"]
    if binary.endswith("_test") and os.path.dirname(binary) and labels:
        seen.add((labels[0][0], binary))
for label, binary in sorted(seen):
    print(label, binary)'
}

if $tests; then
  mkdir "$out/tests"
  while read -r label binary; do
    [[ $label != integration ]] || continue
    strip -o "$out/tests/${binary##*/}" "$binary"
    echo "$label ${binary##*/}" >>"$out/tests/labels"
  done < <(list_tests)
  [[ -s $out/tests/labels ]] || fail "no test binary is built: ninja -C $build"
fi

# True for what the host gives.
is_hosts() {
  case $1 in
    linux-vdso.so.* | ld-linux*.so.* | libc.so.* | libm.so.* | libdl.so.* | libpthread.so.* | \
      librt.so.* | libresolv.so.* | libutil.so.* | libanl.so.*) return 0 ;;
    libcuda.so.* | libnvidia-*.so.* | libcudart.so.* | libcublas.so.* | libcublasLt.so.* | \
      libnccl.so.* | libnvJitLink.so.*) return 0 ;;
  esac
  return 1
}

# Lines of "name path" of all libraries that a binary is loaded with.
libraries_of() {
  ldd "$1" | sed -n 's/^\t\([^ ]*\) => \(.*\) (0x.*/\1 \2/p; s/^\t\([^ ]*\) => not found/\1 -/p'
}

shopt -s nullglob
copied=("$out"/bin/* "$out"/tests/*_test)
while read -r name path; do
  is_hosts "$name" && continue
  [[ $path != - ]] || fail "$name is needed and not found"
  strip --strip-unneeded -o "$out/lib/$name" "$path"
done < <(for binary in "${copied[@]}"; do libraries_of "$binary"; done | sort -u)

# The bundle must not lean on this machine.
lib=$(cd "$out/lib" && pwd -P)
for binary in "${copied[@]}"; do
  while read -r name path; do
    is_hosts "$name" && continue
    [[ $(readlink -f "$path") == "$lib"/* ]] || fail "${binary##*/} takes $name from $path"
  done < <(libraries_of "$binary")
done
# Man pages and completion. Programs for GPUs may not run where there is none.
deploy/manual.py "$out/share" "$out"/bin/thinkwire-{router,worker,chat} 2>/dev/null \
  || echo "bundle: without man pages, as the programs do not run here"
du -sh "$out" | sed 's/\t/ in /; s/^/bundle: /'

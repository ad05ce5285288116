#!/usr/bin/env bash
# Bundles a build, moves the bundle, and runs it from another folder with an empty environment.
# Usage: bundle_test.sh BUILD
set -euo pipefail
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."
source=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
  echo "bundle_test: $*" >&2
  exit 1
}

deploy/bundle.sh --build "$build" "$work/bundle"
if deploy/bundle.sh --build "$build" "$work/bundle" 2>"$work/error"; then
  fail "a folder with something in it was overwritten"
fi
grep -q "is not empty" "$work/error" || fail "no word of the folder that is not empty"
if deploy/bundle.sh --build "$work" "$work/other" 2>"$work/error"; then
  fail "a build without binaries was bundled"
fi
grep -q "build it first" "$work/error" || fail "no word of the build that is missing"

# Where neither tests nor bench are built, as in images.
mkdir "$work/product"
ln -s "$build/router" "$build/worker" "$work/product/"
deploy/bundle.sh --serving --build "$work/product" "$work/serving"
[[ $(ls "$work/serving/bin" | xargs) == "thinkwire-chat thinkwire-router thinkwire-worker" ]] \
  || fail "what serves is not router, worker and chat"

mv "$work/bundle" "$work/moved"
cd /
for binary in "$work"/moved/bin/*; do
  env -i "$binary" --help >"$work/help" || fail "${binary##*/} --help failed"
  [[ -s $work/help ]] || fail "${binary##*/} --help said nothing"
  # Nothing but glibc, the driver and CUDA may come from this machine.
  env -i "$(command -v ldd)" "$binary" | awk -v lib="$work/moved/bin/../lib/" '
    $2 != "=>" || index($3, lib) == 1 { next }
    $1 ~ /^lib(c|m|dl|pthread|rt|resolv|util|anl)\.so\./ { next }
    $1 ~ /^lib(cuda|nvidia-.*|cudart|cublas|cublasLt|nccl|nvJitLink)\.so\./ { next }
    { print "bundle_test: taken from this machine: " $0; found = 1 }
    END { exit found }' >&2 || fail "${binary##*/} leans on this machine"
done
(($(ls "$work/moved/bin" | wc -l) == 5)) || fail "not five binaries"
env -i "$work/moved/bin/thinkwire-worker" --model "$source/deploy/models/tiny-r1" --device cpu \
  --check_config | grep -q '^tiny-r1: Qwen2ForCausalLM' || fail "the worker found no model"

#!/usr/bin/env bash
# Debian 12's Abseil watches the order of locks in release builds, too.
#
# absl::Mutex detects orders of locks that could deadlock only "in debug mode": where the library was
# built without NDEBUG. Debian's shared library is, so that a program compiled with -O2 -DNDEBUG, and
# with it gRPC, which uses absl::Mutex, records each order of two locks in a global graph under a lock
# of its own, and is ended where two orders contradict each other. A flat-out gRPC relay spent a tenth
# of its time on that. absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore) ends it.
#
# Seen with libabsl20220623 and libabsl-dev 20220623.1-1+deb12u2 of Debian 12. Needs these, g++ and
# pkg-config. Exit code 0 as long as it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/orders.cc" <<'SOURCE'
#include <cstdio>
#include "absl/synchronization/mutex.h"
int main(int argc, char**) {
  if (argc > 1) absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  absl::Mutex a, b;
  {
    absl::MutexLock first(&a);
    absl::MutexLock second(&b);
  }
  {
    absl::MutexLock first(&b);
    absl::MutexLock second(&a);
  }
  std::puts("went on");
}
SOURCE
# shellcheck disable=SC2046
g++ -std=c++17 -O2 -DNDEBUG "$folder/orders.cc" -o "$folder/orders" \
  $(pkg-config --cflags --libs absl_synchronization)
ulimit -c 0
as_it_is=$("$folder/orders" 2>"$folder/said" || true)
ignored=$("$folder/orders" ignore 2>&1)
echo "as it is: '$as_it_is', $(grep -c 'Potential Mutex deadlock' "$folder/said") times told; ignored: '$ignored'"
[[ -z $as_it_is && $ignored == 'went on' ]]
grep -q 'Potential Mutex deadlock' "$folder/said"

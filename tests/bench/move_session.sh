#!/usr/bin/env bash
# Streams that outlive their workers: a router and three workers of the bundled model on the CPU,
# eight clients, and faults at random, one after another: kill -9, SIGSTOP for as long as the router
# needs to give the worker up, SIGTERM. Every text is compared with that of an undisturbed run.
# Prints how many streams, faults and moves there were, and how long streams stood still. Needs a
# build (default: build/release).
# Usage: tests/bench/move_session.sh [OPTION…]
#   --build B    the build folder (default build/release)
#   --streams N  (default 800)
#   --faults N   (default 200); fewer if the streams end before
#   --seconds S  as many streams and faults as there are in so long, in place of the two above
# Exit code: 0 if no stream failed and every text was the undisturbed one, and in an hour or more the
# router's memory grew by less than 1 MB an hour.
set -uo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)

usage() {
  sed -n '2,14s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

build=$source/build/release streams=800 faults=200 seconds=0
while [[ $# -gt 0 ]]; do
  [[ $# -ge 2 ]] || usage
  case $1 in
    --build) build=$(cd "$2" && pwd) || exit 1 ;;
    --streams) streams=$2 ;;
    --faults) faults=$2 ;;
    --seconds) seconds=$2 ;;
    *) usage ;;
  esac
  shift 2
done
cd "$source" || exit 1
[[ $seconds -eq 0 ]] || faults=1000000
THINKWIRE_MOVE_STREAMS=$streams THINKWIRE_MOVE_FAULTS=$faults \
  THINKWIRE_MOVE_SECONDS=$seconds \
  exec "$build/tests/integration/integration_test" --gtest_filter='MoveTest.*'

#!/usr/bin/env bash
# What misbehaving clients cost honest ones: the same honest load by turns alone and beside
# abuse_bench, on this machine, with the bundled model on the CPU; and what router and worker keep
# of memory. Needs a build (default: build/release).
# Usage: tests/bench/abuse_session.sh [OPTION…] LOGS
#   LOGS         folder for the logs of all processes, the figures' JSON and summary.txt
#   --build B    the build folder (default build/release)
#   --rounds N   pairs of a time alone and a time beside them (default 15)
#   --seconds S  length of each time (default 120)
#   --alone S    length of the times alone, if another: --rounds 1 --seconds 3600 --alone 600 is an
#                hour beside them without a pause
#   --rate R     honest requests a second, at random (default 1.5)
#   --only KIND  one kind of misbehaviour alone (names: abuse_bench prints them)
# Exit code: 0 if all honest requests went well.
set -uo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)

usage() {
  sed -n '2,16s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

build=$source/build/release rounds=15 seconds=120 alone= rate=1.5 only=
while [[ ${1:-} == --* ]]; do
  [[ $# -ge 2 ]] || usage
  case $1 in
    --build) build=$(cd "$2" && pwd) || exit 1 ;;
    --rounds) rounds=$2 ;;
    --seconds) seconds=$2 ;;
    --alone) alone=$2 ;;
    --rate) rate=$2 ;;
    --only) only=$2 ;;
    *) usage ;;
  esac
  shift 2
done
[[ $# -eq 1 ]] || usage
mkdir -p "$1" || exit 1
logs=$(cd "$1" && pwd)

source "$source/tests/bench/session.sh"

rss() { awk '/^VmRSS/ { printf "%d MB", $2 / 1024 }' "/proc/$1/status"; }

failures=0
# honest NAME SECONDS: a time of honest load, and a line of what came of it.
honest() {
  local json=$logs/$1.json
  "$build/tests/bench/thinkwire-bench" serve --router "127.0.0.1:$router" --rate "$rate" \
    --duration_s "$2" --max_tokens 200 --warmup_requests 3 --seed "$round" --json "$json" \
    >"$logs/$1.log" 2>&1 || failures=$((failures + 1))
  printf '%-12s first token p50 %.0f p99 %.0f ms, whole p50 %.0f p99 %.0f ms; router %s, worker %s\n' \
    "$1" "$(ms "$json" first_token_seconds p50)" "$(ms "$json" first_token_seconds p99)" \
    "$(ms "$json" completion_seconds p50)" "$(ms "$json" completion_seconds p99)" \
    "$(rss "$router_pid")" "$(rss "$worker_pid")" | tee -a "$logs/summary.txt"
}
ms() { awk -v s="$(number "$1" "\"$2\"" "$3")" 'BEGIN { print 1000 * s }'; }

start worker "$build/worker/thinkwire-worker" --model "$source/deploy/models/tiny-r1" \
  --served_model_name qwen-1.5b --listen 127.0.0.1:0 --metrics_listen 127.0.0.1:0 || exit 1
worker=$port worker_metrics=$metrics worker_pid=$pid
configure_router "$logs/router.yaml" qwen-1.5b "$worker"
start router "$build/router/thinkwire-router" --config "$logs/router.yaml" --listen 127.0.0.1:0 \
  --metrics_listen 127.0.0.1:0 || exit 1
router=$port router_metrics=$metrics router_pid=$pid

for ((round = 1; round <= rounds; ++round)); do
  honest "alone-$round" "${alone:-$seconds}"
  # Where real ones are: on other machines. What they cost this one's processor is not measured.
  nice -n 19 "$build/tests/bench/abuse_bench" --router "$router" --worker "$worker" \
    --router_metrics "$router_metrics" --worker_metrics "$worker_metrics" \
    --seconds "$((seconds + 5))" --only "$only" >"$logs/abuse-$round.log" 2>&1 &
  abuse=$!
  honest "beside-$round" "$seconds"
  wait "$abuse"
done
echo "honest loads with a failure: $failures of $((2 * rounds))" | tee -a "$logs/summary.txt"
((failures == 0))

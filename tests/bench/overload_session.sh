#!/usr/bin/env bash
# What an overloaded router is worth: a router and a worker of the bundled model on the CPU, first
# under 1 to 32 clients in a closed loop whose requests have a deadline (goodput: what ends well
# before it), three for each of the worker's places among them, then one tenant alone that asks at
# random for three tenths of what the worker can do for it, and the same beside another that floods.
# Clients that are refused come again when they are told to. Needs a build (default: build/release)
# with thinkwire-router, thinkwire-worker and thinkwire-bench.
# Usage: tests/bench/overload_session.sh [OPTION…] LOGS
#   LOGS           folder for logs, figures as JSON and summary.txt
#   --build B      the build folder (default build/release)
#   --places N     of the worker (default 4)
#   --tokens N     of each output (default 64)
#   --deadline MS  of each request of the sweep (default 3 times what one takes alone)
#   --seconds S    for each step, over 4 (default 20)
#   --rounds N     of the sweep, each other one backwards; of each step the median counts (default 1)
# Exit code: 0 if no stream failed.
set -uo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)

usage() {
  sed -n '2,16s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

build=$source/build/release places=4 tokens=64 deadline=0 seconds=20 rounds=1
while [[ ${1:-} == --* ]]; do
  [[ $# -ge 2 ]] || usage
  case $1 in
    --build) build=$(cd "$2" && pwd) || exit 1 ;;
    --places) places=$2 ;;
    --tokens) tokens=$2 ;;
    --deadline) deadline=$2 ;;
    --seconds) seconds=$2 ;;
    --rounds) rounds=$2 ;;
    *) usage ;;
  esac
  shift 2
done
[[ $# -eq 1 ]] || usage
mkdir -p "$1" || exit 1
logs=$(cd "$1" && pwd)

say() { echo "$*" | tee -a "$logs/summary.txt"; }
: > "$logs/summary.txt"
source "$source/tests/bench/session.sh"

for tenant in steady flood; do
  openssl rand -hex 32 > "$logs/$tenant.key"
  echo "$tenant sha256:$(tr -d '\n' < "$logs/$tenant.key" | sha256sum | cut -d' ' -f1)"
done > "$logs/keys"
start worker "$build/worker/thinkwire-worker" --model "$source/deploy/models/tiny-r1" \
  --served_model_name tiny-r1 --listen 127.0.0.1:0 --metrics_listen= --max_num_seqs "$places" \
  --max_model_len 4096 || exit 1
configure_router "$logs/router.yaml" tiny-r1 "$port"
start router "$build/router/thinkwire-router" --config "$logs/router.yaml" --listen 127.0.0.1:0 \
  --metrics_listen= --api_keys "$logs/keys" || exit 1
router_port=$port

# load NAME TENANT OPTION…: figures in NAME.json.
failures=0
load() {
  local name=$1 tenant=$2
  shift 2
  "$build/tests/bench/thinkwire-bench" serve --router "127.0.0.1:$router_port" \
    --api_key_file "$logs/$tenant.key" --variant tiny-r1 --duration_s "$seconds" \
    --prompt_tokens 32 --max_tokens "$tokens" --ignore_eos --json "$logs/$name.json" "$@" \
    > "$logs/$name.txt" 2>&1 || failures=$((failures + 1))
}
# figure NAME KEY…: of its JSON.
figure() {
  local name=$1
  shift
  python3 -c "
import json, sys
value = json.load(open(sys.argv[1]))
for key in sys.argv[2:]: value = value.get(key, 0) if value else 0
print(value)" "$logs/$name.json" "$@"
}
ms() { python3 -c "print(round(1000 * $1))"; }

load alone steady --concurrency 1
alone=$(figure alone figures completion_seconds p50)
[[ $deadline -gt 0 ]] || deadline=$(ms "3 * $alone")
say "one request alone takes $(ms "$alone") ms; deadline $deadline ms, $places places"
say "clients: goodput/s, share, refused, too late, p99 ms"
for ((round = 1; round <= rounds; ++round)); do
  order=-n
  ((round % 2)) || order=-nr
  for clients in $(printf '%s\n' 1 2 4 8 16 32 $((3 * places)) | sort -u $order); do
    name=sweep-$clients-$round
    load "$name" steady --concurrency "$clients" --deadline_ms "$deadline" --goodput_ms "$deadline"
    say "$clients: $(figure $name figures goodput_per_second), $(figure $name figures goodput_share)," \
      "$(figure $name totals refused requests), $(figure $name totals deadline requests)," \
      "$(ms "$(figure $name figures completion_seconds p99)")"
  done
done
say "goodput at 3 times the places: $(python3 - "$logs" "$places" << 'END'
import collections, json, pathlib, statistics, sys
goodput = collections.defaultdict(list)
for path in pathlib.Path(sys.argv[1]).glob("sweep-*.json"):
    figures = json.loads(path.read_text())["figures"]
    goodput[int(path.stem.split("-")[1])].append(figures["goodput_per_second"])
medians = {clients: statistics.median(values) for clients, values in goodput.items()}
peak = max(medians.values())
print(f"{100 * medians[3 * int(sys.argv[2])] / peak:.0f} % of the peak, with 32 clients",
      f"{100 * medians[32] / peak:.0f} %")
END
)"
rate=$(python3 -c "print(round(0.3 / $alone, 3))")
load steady-alone steady --rate "$rate"
load flood flood --concurrency 64 &
flooding=$!
sleep 2
seconds=$((seconds - 4)) load steady-beside steady --rate "$rate"
wait $flooding
for name in steady-alone steady-beside flood; do
  say "$name: $(figure $name figures completed) completed, p50 $(ms "$(figure $name figures completion_seconds p50)")" \
    "p99 $(ms "$(figure $name figures completion_seconds p99)") ms, first output p99" \
    "$(ms "$(figure $name figures first_token_seconds p99)") ms"
done
[[ $failures -eq 0 ]] || say "failed: $failures steps"
exit $((failures > 0))

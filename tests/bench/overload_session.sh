#!/usr/bin/env bash
# What an overloaded router is worth: a router and a worker of the bundled model on the CPU, first
# under 1 to 32 clients in a closed loop whose requests have a deadline (goodput: what ends well
# before it), three for each of the worker's places among them, then one tenant alone that asks at
# random for three tenths of what the worker can do for it, and the same beside another that floods.
# Clients that are refused come again when they are told to. Needs a build (default: build/release)
# with thinkwire-router, thinkwire-worker, thinkwire-worker-faults and thinkwire-bench.
# Usage: tests/bench/overload_session.sh [OPTION…] LOGS
#   LOGS           folder for logs, figures as JSON and summary.txt
#   --build B      the build folder (default build/release)
#   --places N     of the worker (default 4)
#   --tokens N     of each output (default 64)
#   --deadline MS  of each request of the sweep (default 3 times what one takes alone)
#   --seconds S    for each step, over 4 (default 20)
#   --rounds N     of all, each other sweep backwards; of each step the median counts (default 1)
#   --step US      each of the worker's steps takes so many microseconds at least, as a GPU's does,
#                  whose rows do not hold each other up (default: as long as the CPU computes)
#   --only PART    sweep or flood (default both)
# Exit code: 0 if no stream failed.
set -uo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)

usage() {
  sed -n '2,19s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

build=$source/build/release places=4 tokens=64 deadline=0 seconds=20 rounds=1 step= only=
while [[ ${1:-} == --* ]]; do
  [[ $# -ge 2 ]] || usage
  case $1 in
    --build) build=$(cd "$2" && pwd) || exit 1 ;;
    --places) places=$2 ;;
    --tokens) tokens=$2 ;;
    --deadline) deadline=$2 ;;
    --seconds) seconds=$2 ;;
    --rounds) rounds=$2 ;;
    --step) step=$2 ;;
    --only) only=$2 ;;
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
program=("$build/worker/thinkwire-worker")
[[ -z $step ]] || program=("$build/tests/worker/stall/thinkwire-worker-faults" --fault="slow_steps:$step")
start worker "${program[@]}" --model "$source/deploy/models/tiny-r1" \
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

# The closed loop of 1 to 32 clients: round R.
sweep() {
  local order=-n clients name
  (($1 % 2)) || order=-nr
  for clients in $(printf '%s\n' 1 2 4 8 16 32 $((3 * places)) | sort -u $order); do
    name=sweep-$clients-$1
    load "$name" steady --concurrency "$clients" --deadline_ms "$deadline" --goodput_ms "$deadline"
    say "$clients: $(figure $name figures goodput_per_second), $(figure $name figures goodput_share)," \
      "$(figure $name totals refused requests), $(figure $name totals deadline requests)," \
      "$(ms "$(figure $name figures completion_seconds p99)")"
  done
}

# A tenant alone, and the same beside a flood: round R.
flood() {
  local rate flooding name
  rate=$(python3 -c "print(round(0.3 / $alone, 3))")
  load "steady-alone-$1" steady --rate "$rate" --seed "$1"
  load "flood-$1" flood --concurrency 64 &
  flooding=$!
  sleep 2
  seconds=$((seconds - 4)) load "steady-beside-$1" steady --rate "$rate" --seed "$1"
  wait $flooding
  for name in steady-alone-$1 steady-beside-$1 flood-$1; do
    say "$name: $(figure $name figures completed) completed, p50 $(ms "$(figure $name figures completion_seconds p50)")" \
      "p99 $(ms "$(figure $name figures completion_seconds p99)") ms, first output p99" \
      "$(ms "$(figure $name figures first_token_seconds p99)") ms"
  done
}

if [[ $only != flood ]]; then
  say "clients: goodput/s, share, refused, too late, p99 ms"
  for ((round = 1; round <= rounds; ++round)); do sweep "$round"; done
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
fi
if [[ $only != sweep ]]; then
  for ((round = 1; round <= rounds; ++round)); do flood "$round"; done
  say "beside a flood, times as long as alone: $(python3 - "$logs" << 'END'
import json, pathlib, statistics, sys
logs = pathlib.Path(sys.argv[1])
def times(name, quantile):
    return json.loads((logs / f"{name}.json").read_text())["figures"]["completion_seconds"][quantile]
rounds = sorted(path.stem.split("-")[-1] for path in logs.glob("steady-beside-*.json"))
for quantile in ("p50", "p99"):
    ratios = [times(f"steady-beside-{r}", quantile) / times(f"steady-alone-{r}", quantile) for r in rounds]
    print(f"{quantile} {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})", end="; ")
END
)"
fi
[[ $failures -eq 0 ]] || say "failed: $failures steps"
exit $((failures > 0))

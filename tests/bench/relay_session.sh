#!/usr/bin/env bash
# What the router takes to pass a message on, beside nginx's grpc_pass: a fake worker and a reader
# (relay_bench) on this machine, between them by turns the router, nginx with one worker process and
# nothing. Paced, each stream getting its messages at times of its own; flat out; and flat out for
# readers that lag, where what waits is merged. Prints for each the medians over all rounds of the
# process's CPU time for each message that was read and for each token, how old the tokens were, and
# by how much older they were at p50 and at p99 than those of the same round with nothing between.
# Needs a build (default: build/release) with thinkwire-router and relay_bench, and nginx, which no
# script of ours installs: apt-get install nginx.
# Usage: tests/bench/relay_session.sh [OPTION…] LOGS
#   LOGS             folder for logs, figures and summary.txt
#   --build B        the build folder (default build/release)
#   --rounds N       (default 5)
#   --streams N      (default 128)
#   --connections N  that the reader has them on (default 128)
#   --rate R         messages a second of each stream where they are paced (default 50)
#   --seconds S      of each measurement (default 8)
#   --rest MS        between two reads of a stream where its reader lags (default 100)
#   --only MODE      paced, flat or lagging (default all)
# Exit code: 0 if every stream brought all its tokens.
set -uo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)

usage() {
  sed -n '2,21s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

build=$source/build/release rounds=5 streams=128 connections=128 rate=50 seconds=8 rest=100 only=
while [[ ${1:-} == --* ]]; do
  [[ $# -ge 2 ]] || usage
  case $1 in
    --build) build=$(cd "$2" && pwd) || exit 1 ;;
    --rounds) rounds=$2 ;;
    --streams) streams=$2 ;;
    --connections) connections=$2 ;;
    --rate) rate=$2 ;;
    --seconds) seconds=$2 ;;
    --rest) rest=$2 ;;
    --only) only=$2 ;;
    *) usage ;;
  esac
  shift 2
done
[[ $# -eq 1 ]] || usage
command -v nginx >/dev/null || {
  echo "relay_session: there is no nginx here (Debian: apt-get install nginx)" >&2
  exit 1
}
mkdir -p "$1" || exit 1
logs=$(cd "$1" && pwd)
: >"$logs/figures.jsonl"

source "$source/tests/bench/session.sh"

# start_nginx PORT: in front of the worker at that port; sets $port and $pid, its worker process's.
start_nginx() {
  port=$(python3 -c 'import socket
with socket.socket() as s:
  s.bind(("127.0.0.1", 0))
  print(s.getsockname()[1])')
  cat >"$logs/nginx.conf" <<CONF
daemon off; worker_processes 1; pid $logs/nginx.pid; error_log $logs/nginx.error;
events { worker_connections 4096; }
http {
  access_log off; client_body_temp_path $logs/b; proxy_temp_path $logs/p; fastcgi_temp_path $logs/f;
  uwsgi_temp_path $logs/u; scgi_temp_path $logs/s; http2_max_concurrent_streams 4096;
  server {
    listen 127.0.0.1:$port http2;
    location / { grpc_pass grpc://127.0.0.1:$1; grpc_read_timeout 600s; }
  }
}
CONF
  nginx -c "$logs/nginx.conf" 2>"$logs/nginx.log" &
  local master=$!
  pids+=("$master")
  sleep 1
  pid=$(pgrep -P "$master") || {
    echo "relay_session: $(tail -n 1 "$logs/nginx.log")" >&2
    exit 1
  }
}

failures=0
# measure MODE BY TARGET PID: a line of figures.
measure() {
  local line
  line=$("$build/tests/bench/relay_bench" load --target "127.0.0.1:$3" --streams "$streams" \
    --connections "$connections" --seconds "$seconds" --warmup_s "$warmup" \
    --rest_ms "$rests" --pid "$4" 2>>"$logs/load.log") ||
    failures=$((failures + 1))
  echo "{\"mode\": \"$1\", \"by\": \"$2\", ${line#\{}" | tee -a "$logs/figures.jsonl"
}

for mode in paced flat lagging; do
  [[ -z $only || $only == "$mode" ]] || continue
  pace=0 rests=0 warmup=2
  [[ $mode != paced ]] || pace=$rate
  [[ $mode != lagging ]] || rests=$rest warmup=10  # until what lies between is full
  start "worker-$mode" "$build/tests/bench/relay_bench" worker --rate "$pace" || exit 1
  worker=$port
  configure_router "$logs/router.yaml" relay "$worker"
  start "router-$mode" "$build/router/thinkwire-router" --config "$logs/router.yaml" \
    --listen 127.0.0.1:0 --metrics_listen= || exit 1
  router=$port router_pid=$pid
  start_nginx "$worker"
  nginx=$port nginx_pid=$pid
  sleep 1
  for ((round = 1; round <= rounds; ++round)); do
    measure "$mode" router "$router" "$router_pid"
    measure "$mode" nginx "$nginx" "$nginx_pid"
    measure "$mode" nothing "$worker" 0
  done
  stop
done

python3 - "$logs/figures.jsonl" <<'PY' | tee "$logs/summary.txt"
import json, statistics, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
def of(mode, by, key):
    return [line[key] for line in lines if line["mode"] == mode and line["by"] == by]
median = statistics.median
for mode in dict.fromkeys(line["mode"] for line in lines):
    for by in ("router", "nginx", "nothing"):
        print(f"{mode} {by}: {median(of(mode, by, 'us_per_message')):.2f} us a message, "
              f"{median(of(mode, by, 'us_per_token')):.2f} us a token, "
              f"{median(of(mode, by, 'messages_per_s')):.0f} messages/s, "
              f"{median(of(mode, by, 'tokens_per_s')):.0f} tokens/s, age p50 "
              f"{median(of(mode, by, 'age_p50_us')):.0f} p99 {median(of(mode, by, 'age_p99_us')):.0f} us")
    for by in ("router", "nginx"):
        added = [[a - b for a, b in zip(of(mode, by, key), of(mode, "nothing", key))]
                 for key in ("age_p50_us", "age_p99_us")]
        print(f"{mode} {by} adds: " + ", ".join(
            f"{name} {median(us):.0f} us ({min(us):.0f} to {max(us):.0f})"
            for name, us in zip(("p50", "p99"), added)))
    for key in ("us_per_message", "us_per_token"):
        pairs = [a / b for a, b in zip(of(mode, "router", key), of(mode, "nginx", key))]
        print(f"{mode} router / nginx, {key}: median {median(pairs):.2f}, "
              f"{min(pairs):.2f} to {max(pairs):.2f}")
PY
echo "measurements with a failure: $failures" | tee -a "$logs/summary.txt"
((failures == 0))

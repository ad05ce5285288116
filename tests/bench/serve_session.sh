#!/usr/bin/env bash
# What router, worker and gRPC leave of the engine's speed: figures of `thinkwire-bench engine` and
# of `thinkwire-bench serve` next to each other. From a bundle made by deploy/bundle.sh or a build
# in the tree; it needs the source folder that holds this script, and changes nothing there.
# Usage: tests/bench/serve_session.sh [OPTION…] LOGS BINARIES MODEL…
#   LOGS         folder for the logs of all processes, the figures' JSON and summary.txt
#   BINARIES     the bundle, or a build folder such as build/cuda
#   MODEL        a distill's name, for its shape with random weights, or a checkpoint's folder
#   --device D   auto, cpu or cuda (default: cuda)
#   --streams N  requests at once (default 16)
#   --prompt N   tokens of each prompt (default 512)
#   --output N   tokens of each output (default 128)
#   --waves N    how often so many requests are sent together, beside one to warm up (default 8)
#   --limit S    seconds for each step; loading a model is a step (default 180)
# Exit code: 0 if all steps went well.
set -uo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)

usage() {
  sed -n '2,17s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

device=cuda streams=16 prompt=512 output=128 waves=8 limit=180
while [[ ${1:-} == --* ]]; do
  [[ $# -ge 2 ]] || usage
  case $1 in
    --device) device=$2 ;;
    --streams) streams=$2 ;;
    --prompt) prompt=$2 ;;
    --output) output=$2 ;;
    --waves) waves=$2 ;;
    --limit) limit=$2 ;;
    *) usage ;;
  esac
  shift 2
done
[[ $# -ge 3 ]] || usage
mkdir -p "$1" || exit 1
logs=$(cd "$1" && pwd)
binaries=$(cd "$2" && pwd) || exit 1
shift 2

# The path of a binary, in a bundle or in a build.
binary() {
  local path
  for path in "$binaries/bin/$1" "$binaries"/{router,worker,tests/bench}/"$1"; do
    [[ -x $path ]] && echo "$path" && return
  done
  echo "serve_session: $binaries has no $1" >&2
  return 1
}
bench=$(binary thinkwire-bench) && router=$(binary thinkwire-router) &&
  worker=$(binary thinkwire-worker) || exit 1

say() { echo "$*" | tee -a "$logs/summary.txt"; }
failures=0
fail() {
  say "failed: $*"
  failures=$((failures + 1))
}

source "$source/tests/bench/session.sh"

# serve NAME COMMAND…: starts a server, or counts it as failed.
serve() {
  start "$@" && return
  fail "$1 does not listen"
  return 1
}

# step NAME COMMAND…: with its output in NAME.log.
step() {
  local log=$logs/$1.log name=$1
  shift
  timeout --kill-after=5 "$limit" "$@" >"$log" 2>&1 && return
  fail "$name (exit $?): $(tail -n 1 "$log")"
  return 1
}

share() { awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.1f %%", 100 * a / b }'; }
rounded() { awk -v a="$1" 'BEGIN { printf "%.1f", a }'; }
milliseconds() { awk -v a="$1" 'BEGIN { printf "%.1f ms", 1000 * a }'; }

measure() {
  local model=$1 name=${1##*/} folder=$1 random=()
  if [[ ! -d $model ]]; then
    folder=$logs/$name.model random=(--random_weights)
    step "$name-folder" "$bench" folder --model "$model" --out "$folder" \
      --tokenizer "$source/deploy/models/tiny-r1" || return
  fi
  # Alone, before the worker takes the memory.
  step "$name-engine" "$bench" engine --model "$model" --device "$device" --batch "1,$streams" \
    --prompt "$prompt" --output "$output" --context= --prefill= \
    --json "$logs/$name-engine.json" || return

  serve "$name-worker" "$worker" --model "$folder" --served_model_name "$name" "${random[@]}" \
    --device "$device" --listen 127.0.0.1:0 --metrics_listen= || return
  configure_router "$logs/$name-router.yaml" "$name" "$port"
  serve "$name-router" "$router" --config "$logs/$name-router.yaml" --listen 127.0.0.1:0 \
    --metrics_listen= || return
  local load=("$bench" serve --router "127.0.0.1:$port" --prompt_tokens "$prompt" --ignore_eos)
  # Different seeds, or the worker would find prompts of an earlier load in its prefix cache.
  step "$name-idle" "${load[@]}" --seed 1 --concurrency 1 --requests $((4 * waves + 4)) \
    --warmup_requests 4 --max_tokens 2 --json "$logs/$name-idle.json"
  step "$name-waves" "${load[@]}" --seed 2 --concurrency "$streams" --in_waves \
    --requests $((streams * (waves + 1))) --warmup_requests "$streams" --max_tokens "$output" \
    --json "$logs/$name-waves.json"
  step "$name-closed" "${load[@]}" --seed 3 --concurrency "$streams" \
    --requests $((streams * (waves + 1))) --warmup_requests "$streams" --max_tokens "$output" \
    --json "$logs/$name-closed.json"
  report "$name"
}

report() {
  local name=$1 engine served
  engine=$(number "$logs/$name-engine.json" "\"sequences\": $streams," tokens_per_second)
  served=$(number "$logs/$name-waves.json" figures decode_tokens_per_second)
  say "$name: $streams streams, $prompt tokens of prompt, $output of output, on $device"
  say "  engine alone:        $(rounded "$engine") tok/s"
  say "  served, all decode:  $(rounded "$served") tok/s, $(share "$served" "$engine") of it"
  say "  served, waves:       $(rounded "$(number "$logs/$name-waves.json" figures \
    output_tokens_per_second)") tok/s over the whole time, prompts included"
  say "  served, closed loop: $(rounded "$(number "$logs/$name-closed.json" figures \
    output_tokens_per_second)") tok/s over the whole time, prompts included"
  say "  first token, idle:   $(milliseconds "$(number "$logs/$name-idle.json" \
    first_token_seconds p50)") at the median, $(milliseconds "$(number "$logs/$name-idle.json" \
    first_token_seconds p99)") at the 99th percentile"
}

say "$(date -u +%FT%TZ) $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader \
  2>/dev/null | tr '\n' ';')"
for model in "$@"; do
  measure "$model"
  stop
done
((failures == 0))

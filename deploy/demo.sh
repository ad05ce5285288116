#!/usr/bin/env bash
# Installs what is missing, builds, starts a router and a CPU worker with the bundled model, asks a
# question and shows reasoning and answer.
# Usage: deploy/demo.sh [--serve] [QUESTION]
#   --serve   afterwards keep serving, gRPC on localhost:50051 and OpenAI's API on
#             http://localhost:8080/v1, until Ctrl-C
# Environment: THINKWIRE_BUILD  build folders' parent (default: build/)
set -euo pipefail
cd "$(dirname "$0")/.."

usage() { sed -n '2,7s/^# //p' deploy/demo.sh; }
serve=false question="What is 27+48?"
while [[ $# -gt 0 ]]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --serve) serve=true ;;
    -*) usage >&2; exit 2 ;;
    *) question=$1 ;;
  esac
  shift
done

deploy/setup.sh
builds=${THINKWIRE_BUILD:-build}
mkdir -p "$builds"
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=true
if [[ ! -f $builds/release/build.ninja ]]; then
  cmake --preset release -B "$builds/release" >"$builds/release.configure.log" || {
    cat "$builds/release.configure.log" >&2
    exit 1
  }
fi
echo "== building"
ninja -C "$builds/release" -j "$(nproc)" thinkwire-router thinkwire-worker thinkwire-chat
bin=$builds/release

run=$(mktemp -d)
worker= router=
stop() {
  [[ -z $router ]] || kill "$router" 2>/dev/null || true
  [[ -z $worker ]] || kill "$worker" 2>/dev/null || true
  wait
  rm -rf "$run"
}
trap stop EXIT
trap 'exit 130' INT TERM

# Waits until process $1 has written its bound port into the log $2, and prints it.
port_of() {
  local port
  for _ in $(seq 600); do
    port=$(sed -n 's/.*"listening".*"port":\([0-9]*\).*/\1/p' "$2" | head -n 1)
    if [[ -n $port ]]; then
      echo "$port"
      return
    fi
    kill -0 "$1" 2>/dev/null || break
    sleep 0.1
  done
  cat "$2" >&2
  return 1
}

echo "== starting a worker with the bundled model, and a router"
"$bin/worker/thinkwire-worker" --model deploy/models/tiny-r1 --device cpu --listen 127.0.0.1:0 \
  --metrics_listen '' 2>"$run/worker.log" &
worker=$!
worker_port=$(port_of "$worker" "$run/worker.log")
cat >"$run/router.yaml" <<YAML
variants:
  - name: tiny-r1
    workers: ["127.0.0.1:$worker_port"]
YAML
listen=127.0.0.1:0 door=
if $serve; then listen=127.0.0.1:50051 door=127.0.0.1:8080; fi
"$bin/router/thinkwire-router" --config "$run/router.yaml" --listen "$listen" \
  --http_listen "$door" --metrics_listen '' 2>"$run/router.log" &
router=$!
router_port=$(port_of "$router" "$run/router.log")

echo "== asking: $question"
"$bin/router/thinkwire-chat" --router "localhost:$router_port" --temperature 0 "$question" </dev/null

if $serve; then
  echo "== serving on localhost:$router_port, Ctrl-C ends it. In another terminal:"
  echo "   $bin/router/thinkwire-chat --router localhost:$router_port"
  echo "   curl -N http://localhost:8080/v1/chat/completions -H 'Content-Type: application/json' \\"
  echo "     -d '{\"model\": \"auto\", \"stream\": true, \"messages\": [{\"role\": \"user\", \"content\": \"What is 27+48?\"}]}'"
  wait -n "$worker" "$router"
fi

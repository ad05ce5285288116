#!/usr/bin/env bash
# What the sessions of this folder share that start servers and measure them: to be sourced, with
# $logs set to a folder for logs. Whatever it has started ends with the shell.
# Sets: $session, the script's name, which messages begin with; $source, the source folder;
# $limit, seconds in which a server must listen (default 60).

session=$(basename "$0" .sh)
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
limit=${limit:-60}
pids=()

# Ends all that was started.
stop() {
  local pid
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null; done
  pids=()
}
trap stop EXIT

# listening KEY LOG: that number of the line in which a server says that it listens; or nothing.
listening() { sed -n '/"message":"listening"/s/.*"'"$1"'":\([0-9]*\).*/\1/p' "$2" | head -n 1; }

# start NAME COMMAND…: a server with its log in NAME.log; sets $pid, and once it listens $port and
# $metrics, which is empty where it has no such port. Fails, and says so: it does not listen.
start() {
  local name=$1 log=$logs/$1.log deadline=$((SECONDS + limit))
  shift
  : >"$log"
  "$@" >"$log" 2>&1 &
  pid=$!
  pids+=("$pid")
  while ((SECONDS < deadline)) && kill -0 "$pid" 2>/dev/null; do
    port=$(listening port "$log")
    metrics=$(listening metrics_port "$log")
    [[ -z $port ]] || return 0
    sleep 0.2
  done
  echo "$session: $name does not listen: $(tail -n 1 "$log")" >&2
  return 1
}

# configure_router FILE VARIANT PORT: a configuration of one variant, whose worker is there.
configure_router() {
  printf 'variants:\n  - name: "%s"\n    workers: ["127.0.0.1:%s"]\n' "$2" "$3" >"$1"
}

# number FILE MARK KEY: the first value of KEY in a JSON of one key a line, from the line that holds
# MARK on.
number() {
  awk -v mark="$2" -v key="\"$3\":" '
    index($0, mark) { found = 1 }
    found && index($0, key) { sub(/.*: */, ""); sub(/,$/, ""); print; exit }' "$1"
}

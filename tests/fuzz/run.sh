#!/usr/bin/env bash
# Runs every fuzz target for some time from its kept corpus, one a core, and says how many inputs
# each tried. What is found lies in LOGS; an input worth keeping goes to tests/fuzz/corpus.
# Usage: tests/fuzz/run.sh SECONDS BUILD LOGS
#   SECONDS  for each target
#   BUILD    a build folder of the preset asan, with the target `fuzzers` built
#   LOGS     folder for logs, new inputs and inputs that fail
set -euo pipefail
[[ $# -eq 3 ]] || { sed -n '4,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
cd "$(dirname "$0")/../.."
seconds=$1 build=$2 logs=$(realpath -m "$3")
mkdir -p "$logs"

# one NAME: fuzzes a target into its log.
one() {
  local name=$1
  mkdir -p "$logs/$name"
  "$build/tests/fuzz/${name}_fuzz" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3000 \
    -max_len=65536 -print_final_stats=1 -artifact_prefix="$logs/$name-" \
    "$logs/$name" "tests/fuzz/corpus/$name" >"$logs/$name.log" 2>&1
}
export -f one
export seconds build logs

failed=0
ls tests/fuzz/corpus | xargs -P "$(nproc)" -I{} bash -c 'one {}' || failed=1
for name in $(ls tests/fuzz/corpus); do
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$logs/$name.log")
  if [[ -n $(find "$logs" -maxdepth 1 -name "$name-*" -print -quit) || -z $runs ]]; then
    echo "fuzz: $name failed:" >&2
    tail -n 40 "$logs/$name.log" >&2
    failed=1
  else
    echo "fuzz: $name: $runs inputs"
  fi
done
exit $failed

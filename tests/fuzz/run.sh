#!/usr/bin/env bash
# Runs every fuzz target for some time from its kept corpus, one process a core, and says how many
# inputs each tried. What is found lies in LOGS; an input worth keeping goes to tests/fuzz/corpus.
# Usage: tests/fuzz/run.sh SECONDS BUILD LOGS [JOBS]
#   SECONDS  for each process
#   BUILD    a build folder of the preset asan, with the target `fuzzers` built
#   LOGS     folder for logs, new inputs and inputs that fail
#   JOBS     processes of each target, which share what they find (default 1)
set -euo pipefail
[[ $# -eq 3 || $# -eq 4 ]] || { sed -n '4,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
cd "$(dirname "$0")/../.."
seconds=$1 build=$(realpath "$2") logs=$(realpath -m "$3") jobs=${4:-1}
names=$(ls tests/fuzz/corpus)
for name in $names; do mkdir -p "$logs/$name"; done

# one NAME JOB: fuzzes a target into a log of its own.
one() {
  "$build/tests/fuzz/${1}_fuzz" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=3000 \
    -max_len=65536 -reload=1 -print_final_stats=1 -artifact_prefix="$logs/$1-" \
    "$logs/$1" "tests/fuzz/corpus/$1" >"$logs/$1.$2.log" 2>&1
}
# What targets write as a file stays in memory: ext4 writes a file that was emptied out at once.
if [[ -z ${TMPDIR:-} && -w /dev/shm ]]; then export TMPDIR=/dev/shm; fi
export -f one
export seconds build logs

failed=0
for name in $names; do
  for job in $(seq "$jobs"); do echo "$name $job"; done
done | xargs -P "$(nproc)" -L 1 bash -c 'one "$0" "$1"' || failed=1
for name in $names; do
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$logs/$name".*.log)
  if [[ -n $(find "$logs" -maxdepth 1 -name "$name-*" -print -quit) ||
        $(wc -w <<<"$runs") -lt $jobs ]]; then
    echo "fuzz: $name failed:" >&2
    tail -n 40 "$logs/$name".*.log >&2
    failed=1
  else
    echo "fuzz: $name: $(awk '{sum += $1} END {print sum}' <<<"$runs") inputs"
  fi
done
exit $failed

#!/usr/bin/env bash
# systemd-analyze verify succeeds on a unit whose keys do not exist.
#
# Misspelt keys are told of on stderr ("Unknown key … ignoring") and the exit code is 0, so that a
# check of units in CI by its exit code passes a service without its memory limit or its restart. A
# command that is not there does make it fail, as does a missing ExecStart. A check has to take any
# line on stderr for a failure.
#
# Seen with systemd 252 (Debian 12). Needs systemd-analyze; no service is started. Exit code 0 as
# long as it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
unit() {
  printf '[Unit]\nDescription=example\n[Service]\nExecStart=%s\n%s\n' "$2" "$3" \
    >"$folder/$1.service"
}
unit misspelt /bin/true $'MemoryMaxx=1G\nRestrat=always'
unit gone /bin/no-such-command Restart=always
systemd-analyze --version | head -n 1
misspelt=0 gone=0
systemd-analyze verify "$folder/misspelt.service" 2>"$folder/said" || misspelt=$?
systemd-analyze verify "$folder/gone.service" 2>/dev/null || gone=$?
echo "misspelt keys: exit code $misspelt; a command that is not there: exit code $gone"
grep "Unknown key" "$folder/said"
[[ $misspelt == 0 && $gone != 0 && $(grep -c "Unknown key" "$folder/said") == 2 ]]

#!/usr/bin/env bash
# podman-compose: a count of GPUs that is text ends it, and a service's `configs` are left out.
#
# The Compose Specification's schema has `count` of a device reservation as text or number, and a
# value that comes from a variable is text: "${GPUS:-1}". podman-compose counts up to it:
#   TypeError: 'str' object cannot be interpreted as an integer
# `configs`, whose content a compose file may hold itself, it reads over without a word: the
# container is made without that file, and its program starts without its configuration.
#
# Seen with podman-compose 1.6.0 of PyPI; 1.0.3 of Debian 12 knows neither devices nor configs, and
# fails where a service has an address of its own on the network `default`. A stub stands for
# podman, as --dry-run starts nothing. Needs python3 with venv. Exit code 0 as long as it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check podman-compose==1.6.0
printf '#!/bin/sh\n[ "$1" = ps ] && echo "[]" || echo "podman version 4.3.1"\n' >"$folder/venv/bin/podman"
chmod +x "$folder/venv/bin/podman"
export PATH=$folder/venv/bin:$PATH
cd "$folder"

up() {  # with this count
  cat >compose.yaml <<YAML
services:
  one:
    image: docker.io/library/debian:12
    configs: [{source: words, target: /etc/words.yaml}]
    deploy: {resources: {reservations: {devices: [{driver: nvidia, count: $1, capabilities: [gpu]}]}}}
configs:
  words: {content: "a: 1"}
YAML
  podman-compose --verbose --dry-run up 2>&1
}

by_number=$(up 1)
grep -q -e '--device nvidia.com/gpu=0 ' <<<"$by_number"
if grep -q 'words' <<<"$by_number"; then
  echo "the config is known, which is new" >&2
  exit 1
fi
echo "a number: one GPU, and nothing of /etc/words.yaml"
if by_text=$(GPUS=1 up '"${GPUS:-1}"'); then
  echo "a count that is text is taken, which is new" >&2
  exit 1
fi
grep '^TypeError' <<<"$by_text"

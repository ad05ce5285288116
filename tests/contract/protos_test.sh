#!/usr/bin/env bash
# .ci/protos passes the contract as it stands, and finds what breaks its clients or its style.
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
contract=$work/protos/thinkwire/v1/reasoning.proto

# Copies the contract, edited by the sed command $1, and checks it; prints what was found.
check() {
  rm -rf "$work/protos"
  cp -r "$repository/buf.yaml" "$repository/protos" "$work"
  sed -i "$1" "$contract"
  "$repository/.ci/protos" "$work"
}

# Fails unless the edit $1 is found, in words that match $2.
expect_found() {
  local found
  if found=$(check "$1"); then
    echo "'$1' was not found" >&2
    exit 1
  fi
  grep -q "$2" <<<"$found" || {
    echo "'$1': expected $2, found: $found" >&2
    exit 1
  }
}

check '' || {
  code=$?
  if [[ $code -eq 77 ]]; then echo "skipped: buf is not installed (deploy/setup.sh --all)"; fi
  exit $code
}
expect_found '/optional uint64 seed = 7;/d' 'Previously present field "7"'
expect_found 's/optional uint64 seed = 7;/optional string seed = 7;/' 'changed type'
expect_found 's/rpc ListVariants(/rpc Variants(/' 'Previously present RPC "ListVariants"'
expect_found 's/string request_id = 1;/string requestId = 1;/' 'lower_snake_case'

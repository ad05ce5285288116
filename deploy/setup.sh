#!/usr/bin/env bash
# Installs the Debian packages that building and testing Thinkwire needs, where they are missing.
# Usage: deploy/setup.sh [--all]   (--all: also what `deploy/test.sh --all` needs)
# Idempotent: with everything there it takes well under a second and touches nothing. Needs root or
# sudo only when something is missing. Works on Debian 12; Ubuntu 24.04 has the same names.
set -euo pipefail

case "${1:-}" in
  "" | --all) ;;
  -h | --help) sed -n '2,5s/^# //p' "$0"; exit 0 ;;
  *) sed -n '2,5s/^# //p' "$0" >&2; exit 2 ;;
esac

packages=(
  ca-certificates
  ccache
  cmake
  g++
  libabsl-dev
  libedit-dev
  libgrpc++-dev
  libgtest-dev
  libicu-dev
  libnghttp2-dev
  libpcre2-dev
  libprotobuf-dev
  libssl-dev
  libyaml-cpp-dev
  ninja-build
  nlohmann-json3-dev
  pkg-config
  prometheus-cpp-dev
  protobuf-compiler
  protobuf-compiler-grpc
  python3
)
if [[ "${1:-}" == "--all" ]]; then
  packages+=(clang clang-format clang-tidy libclang-rt-dev prometheus python3-jsonschema
    python3-yaml universal-ctags)
fi

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ "$state" == installed ]] || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  command -v sudo >/dev/null || {
    echo "setup: missing packages: ${missing[*]}; run as root or install sudo" >&2
    exit 1
  }
  as_root=(sudo)
fi
echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null

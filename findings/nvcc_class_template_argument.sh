#!/usr/bin/env bash
# nvcc and a kernel template whose argument is a struct.
#
# C++20 lets a template take a value of a class type, and nvcc says that it compiles C++20. For a
# __global__ function template it depends on where the struct is declared: in the global namespace
# it compiles; in any other one nvcc writes the struct's mangled name into the host's launch stub,
# where the host compiler takes it for a name of its own:
#   error: '_ZN6shapes5ShapeE' was not declared in this scope
# The device's code is made without a word. Passing an index into a constexpr table of the structs,
# or plain integers, works.
#
# Seen with nvcc 13.0.88 and g++ 12.2.0 as the host's compiler. Needs g++, python3 with pip and
# venv, and 130 MB from PyPI; no GPU. Exit code 0 as long as it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-deps nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 \
  nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.88 nvidia-cuda-cccl==13.0.85
nvcc=$(find "$folder/venv" -path '*/bin/nvcc' | head -n 1)
"$nvcc" --version | grep release

kernel='struct Shape { int rows; };
template <Shape kShape> __global__ void Fill(int* out) { *out = kShape.rows; }
void Go() { Fill<Shape{2}><<<1, 1>>>(nullptr); }'
echo "$kernel" >"$folder/global.cu"
echo "namespace shapes { $kernel }" >"$folder/named.cu"
compile() { "$nvcc" -std=c++20 -arch=sm_90 -c "$folder/$1.cu" -o "$folder/$1.o" 2>&1; }

compile global
echo "in the global namespace: compiled"
if output=$(compile named); then
  echo "in another namespace: compiled, which is new" >&2
  exit 1
fi
grep -m 1 -o "error: .*_ZN6shapes5ShapeE.*was not declared in this scope" <<<"$output" || {
  echo "in another namespace: another error than before: $output" >&2
  exit 1
}

#!/usr/bin/env bash
# ptxas: in a kernel that has a wgmma, packed bf16 arithmetic goes to one of the two pipelines that it
# is spread over otherwise.
#
# fma.rn.bf16x2 becomes HFMA2 or HFMA2.MMA, half and half, in a plain kernel for sm_90a, so that both
# pipelines work. With a single wgmma.mma_async anywhere in the same kernel all of them become one
# kind. A kernel that makes bf16 weights of packed ones beside its wgmma, as products of quantised
# weights do, should count on one pipeline for them, whatever the same instructions reach in a probe
# without wgmma.
#
# Seen with ptxas 13.2.51 (PyPI: nvidia-cuda-nvcc) and nvdisasm 13.2.51 (nvidia-cuda-nvdisasm); with
# CUDA 13.0.88 likewise. Needs python3 with pip and the network, no GPU. Exit code 0 as long as it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --no-deps --target "$folder/tools" \
  nvidia-cuda-nvcc==13.2.51 nvidia-cuda-nvdisasm==13.2.51 2>/dev/null
tool() { find "$folder/tools" -type f -name "$1" -path '*bin*' | head -n 1; }
chmod +x "$(tool ptxas)" "$(tool nvdisasm)"

# kernel NAME WGMMA: eight chains of packed multiply-adds, four links a turn.
kernel() {
  echo ".visible .entry $1(.param .u64 to, .param .u32 p, .param .u32 q, .param .u64 m) {"
  echo '.reg .pred %more; .reg .b32 %a, %b, %n, %r<8>; .reg .f32 %d<4>; .reg .b64 %to, %m;'
  echo 'ld.param.u64 %to, [to]; ld.param.u32 %a, [p]; ld.param.u32 %b, [q]; ld.param.u64 %m, [m];'
  echo 'mov.u32 %n, 0;'
  for i in 0 1 2 3; do echo "mov.f32 %d$i, 0f00000000;"; done
  for i in 0 1 2 3 4 5 6 7; do echo "mov.u32 %r$i, %tid.x; add.u32 %r$i, %r$i, $i;"; done
  echo 'turn:'
  [[ -z $2 ]] || cat <<'WGMMA'
wgmma.fence.sync.aligned;
wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%d0, %d1, %d2, %d3}, {%a, %b, %a, %b}, %m, 1, 1, 1, 0;
wgmma.commit_group.sync.aligned;
wgmma.wait_group.sync.aligned 0;
WGMMA
  for k in 0 1 2 3; do
    for i in 0 1 2 3 4 5 6 7; do echo "fma.rn.bf16x2 %r$i, %r$i, %a, %b;"; done
  done
  echo 'add.u32 %n, %n, 1; setp.lt.u32 %more, %n, 100; @%more bra turn;'
  for i in 0 1 2 3 4 5 6 7; do echo "st.global.u32 [%to + $((4 * i))], %r$i;"; done
  for i in 0 1 2 3; do echo "st.global.f32 [%to + $((32 + 4 * i))], %d$i;"; done
  echo 'ret; }'
}

# count NAME WGMMA: how many of each kind.
count() {
  { echo '.version 9.0'; echo '.target sm_90a'; echo '.address_size 64'; kernel "$@"; } >"$folder/$1.ptx"
  "$(tool ptxas)" -arch=sm_90a "$folder/$1.ptx" -o "$folder/$1.cubin" 2>/dev/null
  "$(tool nvdisasm)" -c "$folder/$1.cubin" >"$folder/$1.sass"
  mma=$(grep -c 'HFMA2\.MMA' "$folder/$1.sass" || true)
  other=$(($(grep -c 'HFMA2' "$folder/$1.sass" || true) - mma))
  echo "$1: $other HFMA2, $mma HFMA2.MMA"
}

count plain ''
plain=$mma
count with_wgmma yes
((plain > 8 && (mma == 0 || other == 0)))

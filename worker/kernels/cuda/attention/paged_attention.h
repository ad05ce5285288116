#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "worker/kernels/cuda/attention/attention_workspace.h"
#include "worker/kernels/kv.h"
#include "worker/kernels/tensor.h"

namespace thinkwire::worker::kernels {

// Rows for which a step's sequences are split into segments; what is beyond is walked one block a
// sequence and KV head, with the same bits. 68 MB: 16 sequences of 32k tokens with 32 query heads.
inline constexpr std::int64_t kAttentionPartialRows = 1 << 17;

std::size_t AttentionWorkspaceBytes(int max_seqs, int num_kv_heads,
                                    std::int64_t partial_rows = kAttentionPartialRows);

// Lays the workspace out in zeroed device `memory` of AttentionWorkspaceBytes and prepares the
// kernels for the current device: once a device, before anything is captured.
AttentionWorkspace MakeAttentionWorkspace(void* memory, int max_seqs, int num_kv_heads,
                                          std::int64_t partial_rows = kAttentionPartialRows);

// Backend::PagedAttention. q, out bf16 [T, H, 128]; kv bf16 or e4m3 in the layout of
// kv_block.cuh.
// REQUIRES: H / K is 1 to 16, D is 128, B a multiple of 16, scale > 0; a sequence's tokens have
// consecutive positions; T == S only if no sequence has more than one token.
// REQUIRES, as the kernels read these before they wait for earlier ones (launch.cuh): `batch`'s
// arrays, and the keys and values of positions before a sequence's first token in this step, were
// complete before the step's first kernel let its next one start.
void LaunchPagedAttention(const Tensor& q, const BatchView& batch, const KvLayer& kv, float scale,
                          const Tensor& out, const AttentionWorkspace& workspace, int num_sms,
                          cudaStream_t stream);

}  // namespace thinkwire::worker::kernels

#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "worker/kernels/cuda/attention/attention_workspace.h"

namespace thinkwire::worker::kernels {

// LaunchPagedAttention's arguments as its kernels take them; letters as in backend.h.
struct AttentionArgs {
  const __nv_bfloat16* q = nullptr;  // [T, H, D]
  __nv_bfloat16* out = nullptr;      // [T, H, D]
  const void* keys = nullptr;        // as kv_block.cuh has them
  const void* values = nullptr;
  bool fp8 = false;  // what they are: e4m3, else bf16
  const std::int32_t* positions = nullptr;
  const std::int32_t* query_start = nullptr;
  const std::int32_t* seq_slot = nullptr;
  const std::int32_t* block_tables = nullptr;
  AttentionWorkspace workspace;
  std::int32_t num_tokens = 0;    // T
  std::int32_t num_seqs = 0;      // S
  std::int32_t max_blocks = 0;    // M
  std::int32_t num_kv_heads = 0;  // K
  std::int32_t group = 0;         // G = H / K
  std::int32_t block_tokens = 0;  // B
  float scale = 0.0F;             // of scores, times log2(e) and the keys' scale
  float value_scale = 1.0F;       // of the result
  std::uint32_t zero = 0;         // unknown to the compiler (barrier.cuh, ArriveAfter)
};

// The two kernels: sequences of at most 16 rows (tokens times G), and the longer ones.
void PrepareDecodeAttention();
void PreparePrefillAttention(std::int32_t kv_tiles);
void LaunchDecodeAttention(const AttentionArgs& args, int num_sms, cudaStream_t stream);
void LaunchPrefillAttention(const AttentionArgs& args, cudaStream_t stream);

// Prefill on compute capability 9.0, with the same bits; a plane of keys or values has `plane_rows`
// rows of D.
void PrepareWgmmaPrefillAttention();
void LaunchWgmmaPrefillAttention(const AttentionArgs& args, std::int64_t plane_rows, int num_sms,
                                 cudaStream_t stream);

}  // namespace thinkwire::worker::kernels

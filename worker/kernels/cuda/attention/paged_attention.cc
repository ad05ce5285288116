#include "worker/kernels/cuda/attention/paged_attention.h"

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <limits>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/attention/attention_args.h"
#include "worker/kernels/cuda/attention/kv_block.cuh"
#include "worker/kernels/cuda/device/cuda_check.h"

namespace thinkwire::worker::kernels {
namespace {

constexpr std::int64_t kFloatsOfRow = 128 + 2;
constexpr int kKvTileBytes = 32 * 1024;
constexpr float kLog2E = 1.44269504088896340736F;

}  // namespace

std::size_t AttentionWorkspaceBytes(int max_seqs, int num_kv_heads, std::int64_t partial_rows) {
  const std::int64_t words = partial_rows * kFloatsOfRow + std::int64_t{max_seqs} * num_kv_heads;
  return static_cast<std::size_t>(words) * sizeof(float);
}

AttentionWorkspace MakeAttentionWorkspace(void* memory, int max_seqs, int num_kv_heads,
                                          std::int64_t partial_rows) {
  Check(reinterpret_cast<std::uintptr_t>(memory) % 16 == 0 && partial_rows % 2 == 0,
        "attention's workspace is read 16 bytes at a time");
  int device = 0;
  int shared_bytes = 0;
  CUDA_CHECK(cudaGetDevice(&device));
  CUDA_CHECK(
      cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
  AttentionWorkspace workspace;
  workspace.partials = static_cast<float*>(memory);
  workspace.counters =
      reinterpret_cast<std::uint32_t*>(workspace.partials + partial_rows * kFloatsOfRow);
  workspace.partial_rows = partial_rows;
  workspace.max_seqs = max_seqs;
  int major = 0;
  CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  workspace.prefill_by_wgmma = major == 9;
  workspace.prefill_kv_tiles = shared_bytes > 4 * kKvTileBytes + 1024 ? 4 : 2;
  Check(std::int64_t{max_seqs} * num_kv_heads < std::numeric_limits<std::int32_t>::max(),
        "too many sequences and heads to count");
  PrepareDecodeAttention();
  PreparePrefillAttention(workspace.prefill_kv_tiles);
  if (workspace.prefill_by_wgmma) PrepareWgmmaPrefillAttention();
  return workspace;
}

void LaunchPagedAttention(const Tensor& q, const BatchView& batch, const KvLayer& kv, float scale,
                          const Tensor& out, const AttentionWorkspace& workspace, int num_sms,
                          cudaStream_t stream) {
  if (batch.num_tokens == 0) return;
  const std::int64_t heads = q.size() / batch.num_tokens / kv.head_dim;
  AttentionArgs args;
  args.q = q.as<__nv_bfloat16>();
  args.out = out.as<__nv_bfloat16>();
  args.keys = kv.keys().data;
  args.values = kv.values().data;
  args.fp8 = kv.keys().dtype == DType::kE4m3;
  args.positions = batch.positions;
  args.query_start = batch.query_start;
  args.seq_slot = batch.seq_slot;
  args.block_tables = batch.block_tables;
  args.workspace = workspace;
  args.num_tokens = batch.num_tokens;
  args.num_seqs = batch.num_seqs;
  args.max_blocks = batch.max_blocks;
  args.num_kv_heads = kv.num_kv_heads;
  args.group = static_cast<std::int32_t>(heads / kv.num_kv_heads);
  args.block_tokens = kv.block_tokens;
  args.scale = scale * kv.scales.keys * kLog2E;
  args.value_scale = kv.scales.values;
  Check(q.dtype == DType::kBf16 && out.dtype == DType::kBf16, "CUDA attention computes on bf16");
  Check((kv.keys().dtype == DType::kBf16 || args.fp8) && kv.values().dtype == kv.keys().dtype,
        "CUDA attention reads bf16 or e4m3");
  Check(kv.head_dim == 128 && kv.block_tokens > 0 && kv.block_tokens % 16 == 0,
        "CUDA attention takes heads of 128 and blocks of a multiple of 16 tokens");
  Check(args.group >= 1 && args.group <= 16 && args.group * args.num_kv_heads == heads &&
            q.size() == batch.num_tokens * heads * kv.head_dim && out.size() == q.size(),
        "q, out are [T, H, 128] with H / K from 1 to 16");
  Check(args.scale > 0.0F, "attention's scale is positive");
  Check(batch.num_seqs <= workspace.max_seqs, "more sequences than attention's workspace has");
  LaunchDecodeAttention(args, num_sms, stream);
  if (batch.num_tokens == batch.num_seqs) return;
  if (workspace.prefill_by_wgmma) {
    LaunchWgmmaPrefillAttention(args, kv.keys().size() / kHeadDim, num_sms, stream);
  } else {
    LaunchPrefillAttention(args, stream);
  }
}

}  // namespace thinkwire::worker::kernels

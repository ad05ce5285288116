#include <cuda_bf16.h>

#include <algorithm>
#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/attention/attention_tile.cuh"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/latent/latent_kernels.h"
#include "worker/kernels/cuda/latent/latent_ops.h"

// Latent attention's launches, and the kernel that merges what items of a token left. A thread has
// four columns of a head, and asks for many items' at once: 256 KB of a token's 66 and a group of
// 64 heads are far below the time of their waits.
namespace thinkwire::worker::kernels {
namespace {

constexpr float kLog2E = 1.44269504F;
constexpr int kAtOnce = 16;

// What a thread has of a head's segments: four columns.
struct MergedHead {
  float4 o;
  float max;
  float sum;

  __device__ __forceinline__ void Add(const MergedHead& later) {
    const MergeFactors factors = MergeMax(max, later.max);
    sum = Merged(sum, later.sum, factors);
    o = make_float4(Merged(o.x, later.o.x, factors), Merged(o.y, later.o.y, factors),
                    Merged(o.z, later.o.z, factors), Merged(o.w, later.o.w, factors));
  }
};

__device__ __forceinline__ MergedHead PartialOf(const LatentArgs& args, std::int64_t row) {
  const float2 sums = args.work.sums[row];
  return {reinterpret_cast<const float4*>(args.work.partials + row * kLatentWidth)[threadIdx.x],
          sums.x, sums.y};
}

// The items of a head of a token, in ascending order.
__global__ __launch_bounds__(128) void MergeLatentsKernel(LatentArgs args) {
  WaitForPrevious();
  AllowNext();
  const int token = static_cast<int>(blockIdx.x);
  const int head = static_cast<int>(blockIdx.y);
  const int parts = min(args.work.parts, SegmentsOf(args.batch, token));
  if (parts == 0) return;
  const std::int64_t first = static_cast<std::int64_t>(token) * args.work.parts;
  MergedHead merged = PartialOf(args, first * args.heads + head);
#pragma unroll 1
  for (int part = 1; part < parts; part += kAtOnce) {
    MergedHead later[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int at = min(part + i, parts - 1);
      later[i] = PartialOf(args, (first + at) * args.heads + head);
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (part + i < parts) merged.Add(later[i]);
    }
  }
  const float inverse = Inverse(merged.sum, 1.0F);
  const std::int64_t row = static_cast<std::int64_t>(token) * args.heads + head;
  reinterpret_cast<uint2*>(args.out + row * kLatentWidth)[threadIdx.x] =
      make_uint2(Result(merged.o.x, merged.o.y, inverse), Result(merged.o.z, merged.o.w, inverse));
}

LatentArgs ArgsOf(const Tensor& queries, const BatchView& batch, const KvLayer& kv, float scale,
                  const Tensor& out, void* workspace) {
  const std::int64_t heads = queries.dim(1);
  Check(queries.dtype == DType::kBf16 && out.dtype == DType::kBf16 &&
            queries.size() == batch.num_tokens * heads * kv.head_dim &&
            out.size() == batch.num_tokens * heads * kLatentWidth,
        "queries are bf16 [T, H, 576], out is bf16 [T, H, 512]");
  Check(kv.planes[0].dtype == DType::kBf16 && kv.head_dim == kLatentWidth + kLatentRotated &&
            kv.block_tokens > 0,
        "a plane of latents is bf16 [N, B, 576]");
  Check(scale > 0.0F, "attention's scale is positive");
  return {.queries = queries.as<__nv_bfloat16>(),
          .plane = kv.planes[0].as<__nv_bfloat16>(),
          .out = out.as<__nv_bfloat16>(),
          .batch = batch,
          .work = LatentWorkIn(workspace, heads),
          .heads = static_cast<int>(heads),
          .groups = 0,
          .block_tokens = kv.block_tokens,
          .scale = scale * kLog2E};
}

}  // namespace

void PrepareLatentAttention(bool has_wgmma) {
  PrepareLatents();
  if (has_wgmma) PrepareWgmmaLatents();
}

void LaunchAttendLatents(const Tensor& queries, const BatchView& batch, const KvLayer& kv,
                         float scale, const Tensor& out, const LatentMeans& means,
                         cudaStream_t stream) {
  if (batch.num_tokens == 0) return;
  LatentArgs args = ArgsOf(queries, batch, kv, scale, out, means.workspace);
  const bool by_wgmma = means.has_wgmma && kv.block_tokens % 16 == 0;
  const int of_group = by_wgmma ? kWgmmaLatentHeads : static_cast<int>(kLatentBlockHeads);
  args.groups = (args.heads + of_group - 1) / of_group;
  args.work.parts = LatentParts(batch.num_tokens, args.groups, means.num_sms);
  if (by_wgmma) {
    LaunchWgmmaLatents(args, kv.planes[0].size() / kv.head_dim, means.num_sms, stream);
  } else {
    LaunchLatents(args, means.num_sms, stream);
  }
  if (args.work.parts == 1) return;
  Launch(&MergeLatentsKernel,
         {.grid = dim3(static_cast<unsigned>(batch.num_tokens), static_cast<unsigned>(args.heads)),
          .block = dim3(kLatentWidth / 4)},
         stream, args);
}

}  // namespace thinkwire::worker::kernels

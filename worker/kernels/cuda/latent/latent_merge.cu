#include <cuda_bf16.h>

#include <algorithm>
#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/attention/attention_tile.cuh"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/latent/latent_kernels.h"
#include "worker/kernels/cuda/latent/latent_ops.h"

// Latent attention's launches, and the kernel that merges what items of a token left. A block has a
// head, a thread four of its columns; it asks for many items' at once.
namespace thinkwire::worker::kernels {
namespace {

constexpr float kLog2E = 1.44269504F;
constexpr int kMergeThreads = kLatentWidth / 4;
constexpr int kAtOnce = 22;
static_assert(kMostSegments <= kMergeThreads, "a thread has one item's factors");

// How the items of a head are merged; all threads of a block.
struct MergePlan {
  float2 sums[kMostSegments];
  MergeFactors factors[kMostSegments];  // but the first's

  // `sums` is the first item's, the next `stride` further on.
  __device__ __forceinline__ void Make(const float2* from, int stride, int parts) {
    const auto part = static_cast<int>(threadIdx.x);
    if (part < parts) sums[part] = from[static_cast<std::int64_t>(part) * stride];
    __syncthreads();
    if (part > 0 && part < parts) {
      float max = sums[0].x;
      for (int i = 1; i < part; ++i) max = fmaxf(max, sums[i].x);
      factors[part] = MergeMax(max, sums[part].x);
    }
    __syncthreads();
  }
};

__device__ __forceinline__ float4 Merged(const float4& earlier, const float4& later,
                                         const MergeFactors& factors) {
  return make_float4(Merged(earlier.x, later.x, factors), Merged(earlier.y, later.y, factors),
                     Merged(earlier.z, later.z, factors), Merged(earlier.w, later.w, factors));
}

// The items of a head of a token, in ascending order.
__global__ __launch_bounds__(kMergeThreads) void MergeLatentsKernel(LatentArgs args) {
  __shared__ MergePlan plan;
  WaitForPrevious();
  AllowNext();
  const auto token = static_cast<std::int64_t>(blockIdx.x);
  const auto head = static_cast<std::int64_t>(blockIdx.y);
  const int parts = min(args.work.parts, SegmentsOf(args.batch, static_cast<int>(token)));
  if (parts == 0) return;
  const std::int64_t first = token * args.work.parts * args.heads + head;
  const auto* const columns =
      reinterpret_cast<const float4*>(args.work.partials + first * kLatentWidth) + threadIdx.x;
  const std::int64_t stride = std::int64_t{args.heads} * kLatentWidth / 4;
  float4 o = columns[0];
  float sum = 0.0F;
#pragma unroll 1
  for (int part = 1; part < parts || part == 1; part += kAtOnce) {
    float4 later[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) later[i] = columns[min(part + i, parts - 1) * stride];
    if (part == 1) {
      plan.Make(args.work.sums + first, args.heads, parts);
      sum = plan.sums[0].y;
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (part + i >= parts) break;
      sum = Merged(sum, plan.sums[part + i].y, plan.factors[part + i]);
      o = Merged(o, later[i], plan.factors[part + i]);
    }
  }
  const float inverse = Inverse(sum, 1.0F);
  const std::int64_t row = token * args.heads + head;
  reinterpret_cast<uint2*>(args.out + row * kLatentWidth)[threadIdx.x] =
      make_uint2(Result(o.x, o.y, inverse), Result(o.z, o.w, inverse));
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
          .block = dim3(kMergeThreads)},
         stream, args);
}

}  // namespace thinkwire::worker::kernels

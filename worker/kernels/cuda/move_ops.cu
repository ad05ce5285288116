#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/move_ops.h"

// Ops that only move: what changes between steps, which ids a step reads, their embeddings, the
// rows that draw. Rows of bf16 move 16 bytes a thread; everything is far under a microsecond of
// DRAM time but for Embed and GatherRows of long chunks.
namespace thinkwire::worker::kernels {
namespace {

constexpr unsigned kThreads = 256;

dim3 GridFor(std::int64_t n) { return dim3(static_cast<unsigned>((n + kThreads - 1) / kThreads)); }

__global__ void ScatterKernel(const std::int32_t* index, const std::int32_t* values, int n,
                              std::int32_t* to) {
  WaitForPrevious();
  AllowNext();
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) to[index[i]] = values[i];
}

__global__ void GatherInputIdsKernel(const std::int32_t* given, const std::int32_t* source_slot,
                                     const std::int32_t* last_drawn, int n, std::int32_t* ids) {
  WaitForPrevious();
  AllowNext();
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= n) return;
  const std::int32_t slot = source_slot[i];
  ids[i] = slot >= 0 ? last_drawn[slot] : given[i];
}

// out[i] = table[index[i]], rows of `pieces` 16-byte pieces, one block a row.
__global__ void GatherKernel(const std::int32_t* index, const uint4* table, int pieces,
                             uint4* out) {
  AllowNext();
  WaitForPrevious();
  const uint4* const from = table + static_cast<std::int64_t>(index[blockIdx.x]) * pieces;
  uint4* const to = out + static_cast<std::int64_t>(blockIdx.x) * pieces;
  for (int i = static_cast<int>(threadIdx.x); i < pieces; i += static_cast<int>(blockDim.x)) {
    to[i] = from[i];
  }
}

// Pinned host memory is the device's to read and write. What comes from there was written before
// the launch, so it travels while earlier kernels still run; past the caches, which know nothing of
// the host's writes.
template <bool kFromHost>
__global__ void CopyWordsKernel(const uint4* from, int words, uint4* to) {
  const int at = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const int left = words - 4 * at;  // from this thread's four on
  uint4 four = {};
  if (!kFromHost) WaitForPrevious();
  if (left >= 4) {
    four = __ldcv(from + at);
  } else if (left > 0) {
    const auto* const tail = reinterpret_cast<const unsigned*>(from + at);
    four.x = __ldcv(tail);
    if (left > 1) four.y = __ldcv(tail + 1);
    if (left > 2) four.z = __ldcv(tail + 2);
  }
  if (kFromHost) WaitForPrevious();
  AllowNext();
  if (left >= 4) {
    to[at] = four;
  } else if (left > 0) {
    auto* const tail = reinterpret_cast<unsigned*>(to + at);
    tail[0] = four.x;
    if (left > 1) tail[1] = four.y;
    if (left > 2) tail[2] = four.z;
  }
}

void LaunchGather(const Tensor& index, const Tensor& table, const Tensor& out,
                  cudaStream_t stream) {
  const std::int64_t width = table.dim(1);
  Check(table.dtype == DType::kBf16 && out.dtype == DType::kBf16 && width % 8 == 0 &&
            out.size() == index.size() * width,
        "rows are bf16 of whole 16-byte pieces");
  Launch(&GatherKernel,
         {.grid = dim3(static_cast<unsigned>(index.size())), .block = dim3(kThreads)}, stream,
         index.as<std::int32_t>(), static_cast<const uint4*>(table.data),
         static_cast<int>(width / 8), static_cast<uint4*>(out.data));
}

}  // namespace

void LaunchCopyWords(const void* from, std::int64_t words, void* to, bool from_host,
                     cudaStream_t stream) {
  Launch(from_host ? &CopyWordsKernel<true> : &CopyWordsKernel<false>,
         {.grid = GridFor((words + 3) / 4), .block = dim3(kThreads)}, stream,
         static_cast<const uint4*>(from), static_cast<int>(words), static_cast<uint4*>(to));
}

void LaunchScatter(const Tensor& index, const Tensor& values, const Tensor& to,
                   cudaStream_t stream) {
  Check(index.size() == values.size(), "one value an index");
  if (index.size() == 0) return;
  Launch(&ScatterKernel, {.grid = GridFor(index.size()), .block = dim3(kThreads)}, stream,
         index.as<std::int32_t>(), values.as<std::int32_t>(), static_cast<int>(index.size()),
         to.as<std::int32_t>());
}

void LaunchGatherInputIds(const Tensor& given, const Tensor& source_slot, const Tensor& last_drawn,
                          const Tensor& ids, cudaStream_t stream) {
  Check(given.size() == ids.size() && source_slot.size() == ids.size(), "all hold T ids");
  Launch(&GatherInputIdsKernel, {.grid = GridFor(ids.size()), .block = dim3(kThreads)}, stream,
         given.as<std::int32_t>(), source_slot.as<std::int32_t>(), last_drawn.as<std::int32_t>(),
         static_cast<int>(ids.size()), ids.as<std::int32_t>());
}

void LaunchEmbed(const Tensor& ids, const Tensor& table, const Tensor& out, cudaStream_t stream) {
  LaunchGather(ids, table, out, stream);
}

void LaunchGatherRows(const Tensor& x, const Tensor& rows, const Tensor& out, cudaStream_t stream) {
  LaunchGather(rows, x, out, stream);
}

}  // namespace thinkwire::worker::kernels

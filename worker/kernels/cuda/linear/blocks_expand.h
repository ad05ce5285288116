#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "worker/kernels/weights.h"

namespace thinkwire::worker::kernels {

// Rows of one encoding as a checkpoint has them, in device memory, any alignment.
struct BlockRows {
  const void* data = nullptr;
  Encoding encoding = Encoding::kBf16;  // packed, or kBf16
  std::int64_t row_bytes = 0;           // from one row to the next
  std::int64_t count = 0;
  const std::int32_t* targets = nullptr;  // [count]: the row that each becomes
};

// Writes them as bf16, rounded once as block_codes.h says, to rows of `out` [any, columns].
// Threads: the stream's. REQUIRES: whole blocks of columns, in eights; out aligned to 16 bytes.
void LaunchBlocksExpand(const BlockRows& rows, std::int64_t columns, void* out,
                        cudaStream_t stream);

// Products may be launched after this that read what the expansions before it wrote.
void LaunchAwaitExpanded(cudaStream_t stream);

}  // namespace thinkwire::worker::kernels

#include "worker/kernels/cuda/linear/linear_tools.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "worker/kernels/cuda/linear/small_linear.h"

namespace thinkwire::worker::kernels {

LinearTools::LinearTools(const cudaDeviceProp& properties, OpStream& stream)
    : num_sms(properties.multiProcessorCount),
      has_small_linear(properties.major == 9),
      upload(stream.Get()) {}

void LinearTools::Reserve(const StepExtent& extent, OpStream& stream) {
  // QKV sums in f32, or gates and ups in bf16.
  const std::int64_t token_bytes = std::max(4 * extent.qkv_rows, 4 * extent.ffn);
  sums.AtLeast(static_cast<std::size_t>(extent.max_tokens * token_bytes), stream);
}

bool LinearTools::CanNormOnTheWay(const ResidualNorm& norm) const {
  return has_small_linear && CanNorm(norm);
}

}  // namespace thinkwire::worker::kernels

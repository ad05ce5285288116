#include "worker/kernels/cuda/linear/linear_tools.h"

#include <cstddef>

#include "worker/kernels/cuda/linear/small_linear.h"
#include "worker/kernels/rounded_rows.h"

namespace thinkwire::worker::kernels {

LinearTools::LinearTools(const cudaDeviceProp& properties, DeviceMemory& memory, bool fp8_inputs,
                         OpStream& stream)
    : num_sms(properties.multiProcessorCount),
      has_small_linear(properties.major == 9),
      multiplies_fp8(fp8_inputs && properties.major == 9),
      upload(memory, stream.Get()) {}

void LinearTools::Reserve(const StepExtent& extent, OpStream& stream) {
  sums.AtLeast(static_cast<std::size_t>(extent.product_bytes()), stream);
  if (most_fp8_columns > 0) {
    rounded.AtLeast(static_cast<std::size_t>(RoundedBytes(extent.max_tokens, most_fp8_columns)),
                    stream);
  }
}

bool LinearTools::CanNormOnTheWay(const ResidualNorm& norm) const {
  return most_fp8_columns > 0 || (has_small_linear && CanNorm(norm));
}

}  // namespace thinkwire::worker::kernels

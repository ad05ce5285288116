#include "worker/kernels/check.h"
#include "worker/kernels/cuda/linear/unit_product.cuh"

namespace thinkwire::worker::kernels {

void LaunchUnitProduct(const UnitProduct& op, const LinearOutput& output, cudaStream_t stream) {
  Check(op.tokens >= 1 && op.tokens <= kUnitProductTokens, "at most 64 tokens");
  Check(op.weights.columns % kUnitColumns == 0, "rows of W are whole blocks of 128 columns");
  switch (op.weights.format) {
    case UnitFormat::kQ4K:
      return LaunchUnitProductOf<UnitFormat::kQ4K>(op, output, stream);
    case UnitFormat::kQ5K:
      return LaunchUnitProductOf<UnitFormat::kQ5K>(op, output, stream);
    case UnitFormat::kQ6K:
      return LaunchUnitProductOf<UnitFormat::kQ6K>(op, output, stream);
    case UnitFormat::kQ8_0:
      return LaunchUnitProductOf<UnitFormat::kQ8_0>(op, output, stream);
    case UnitFormat::kFp8:
      return LaunchUnitProductOf<UnitFormat::kFp8>(op, output, stream);
  }
}

}  // namespace thinkwire::worker::kernels

#include "worker/model/checkpoint/weight_source.h"

#include "absl/strings/match.h"
#include "common/check.h"

namespace thinkwire::worker::model {

using kernels::Encoding;

bool IsRotaryBuffer(absl::string_view tensor) {
  return absl::EndsWith(tensor, ".rotary_emb.inv_freq");
}

void CheckRegion(const TensorSpec& spec, const Region& region, Encoding encoding) {
  const std::int64_t group = kernels::BlockOf(encoding).elements;
  CHECK(region.first_row >= 0 && region.rows >= 0 && region.first_row + region.rows <= spec.rows &&
            region.first_col >= 0 && region.cols >= 0 &&
            region.first_col + region.cols <= spec.cols,
        "a region lies within its tensor");
  CHECK(region.first_col % group == 0 && region.cols % group == 0,
        "a region is whole groups of columns");
}

absl::string_view NameOf(Encoding encoding) {
  switch (encoding) {
    case Encoding::kBf16:
      return "bf16";
    case Encoding::kF16:
      return "f16";
    case Encoding::kF32:
      return "f32";
    case Encoding::kInt4:
      return "int4";
  }
  CHECK(false, "an encoding that is none");
}

}  // namespace thinkwire::worker::model

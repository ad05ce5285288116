#include "worker/model/checkpoint/weight_source.h"

#include <array>

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

std::span<const std::byte> BytesOf(const kernels::WeightSlice& slice) {
  if (slice.rows == 0) return {};
  const std::int64_t elements = (slice.rows - 1) * slice.row_stride + slice.cols;
  return {static_cast<const std::byte*>(slice.data),
          static_cast<std::size_t>(kernels::BytesOf(slice.encoding, elements))};
}

absl::string_view NameOf(Encoding encoding) {
  constexpr std::array<absl::string_view, kernels::kNumEncodings> kNames = {
      "bf16",     "f16",      "f32",  "q4_0",     "q4_1",     "q5_0",   "q5_1",   "q8_0",
      "q2_k",     "q3_k",     "q4_k", "q5_k",     "q6_k",     "iq4_nl", "iq4_xs", "int4",
      "int4_g64", "int4_g32", "int8", "int8_g64", "int8_g32", "fp8"};
  return kNames[static_cast<std::size_t>(encoding)];
}

}  // namespace thinkwire::worker::model

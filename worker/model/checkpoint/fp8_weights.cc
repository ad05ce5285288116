#include "worker/model/checkpoint/fp8_weights.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "worker/kernels/convert.h"
#include "worker/kernels/stacked_rows.h"
#include "worker/kernels/write_group_block.h"
#include "worker/model/checkpoint/for_rows.h"
#include "worker/model/checkpoint/hash.h"
#include "worker/model/checkpoint/round_to_nearest.h"
#include "worker/model/checkpoint/safetensors.h"

namespace thinkwire::worker::model {
namespace {

using kernels::Encoding;
using kernels::WeightSlice;

constexpr std::int64_t kBlock = kernels::kFp8Columns;  // rows, too, that share a scale

// Where a block lies in a slice.
struct BlockPlace {
  std::int64_t row;
  std::int64_t col;
  std::int64_t rows;  // kBlock, or what the tensor's end leaves
};

// A row of a block.
void Read(const WeightSlice& dense, std::int64_t row, std::int64_t col, float* to) {
  if (dense.encoding != Encoding::kBf16) {
    for (std::int64_t i = 0; i < kBlock; ++i) to[i] = kernels::ElementOf({&dense, row}, col + i);
    return;
  }
  std::array<std::uint16_t, kBlock> bits;
  std::memcpy(bits.data(), dense.row(row) + 2 * col, sizeof(bits));
  std::ranges::transform(bits, to, kernels::F32FromBf16);
}

std::vector<float> WeightsOf(const WeightSlice& dense, const BlockPlace& place) {
  std::vector<float> weights(static_cast<std::size_t>(place.rows * kBlock));
  for (std::int64_t row = 0; row < place.rows; ++row) {
    Read(dense, place.row + row, place.col, weights.data() + row * kBlock);
  }
  return weights;
}

// Rounds a block of `dense`, and writes of its rows those in [first, first + rows) to `to`, which
// has these rows alone.
void WriteBlock(const WeightSlice& dense, const BlockPlace& place, std::int64_t first,
                std::int64_t rows, char* to) {
  const std::vector<float> weights = WeightsOf(dense, place);
  std::vector<std::uint8_t> codes(weights.size());
  const float scale = RoundToE4m3(weights, codes.data());
  const std::int64_t end = std::min(place.row + place.rows, first + rows);
  for (std::int64_t row = std::max(place.row, first); row < end; ++row) {
    const auto begin = codes.begin() + (row - place.row) * kBlock;
    const std::int64_t at = (row - first) * dense.cols + place.col;
    kernels::WriteGroupBlock(Encoding::kFp8, {begin, begin + kBlock}, 0, scale,
                             to + kernels::BytesOf(Encoding::kFp8, at));
  }
}

absl::Status SetEncoding(PlannedTensor& matrix) {
  if (matrix.spec.cols % kBlock != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("quantization is fp8, but tensor ", QuotedName(matrix.spec.name), " has ",
                     matrix.spec.cols, " columns; supported: multiples of ", kBlock));
  }
  matrix.spec.encoding = Encoding::kFp8;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Fp8Weights>> Fp8Weights::Over(std::unique_ptr<WeightSource> dense,
                                                             ModelPlan& plan) {
  for (LayerPlan& layer : plan.layers) {
    for (PartPlan& part : layer) {
      for (PlannedWeight& weight : part.weights) {
        for (PlannedTensor& matrix : weight.matrices) RETURN_IF_ERROR(SetEncoding(matrix));
      }
    }
  }
  return std::unique_ptr<Fp8Weights>(new Fp8Weights(std::move(dense)));
}

HostSlice Fp8Weights::Slice(const TensorSpec& spec, const Region& region) const {
  if (spec.encoding != Encoding::kFp8) return dense_->Slice(spec, region);
  CheckRegion(spec, region, Encoding::kFp8);
  // Whole blocks, as the rows beside the region's have a say in their scale.
  const std::int64_t first = region.first_row / kBlock * kBlock;
  const std::int64_t end = region.first_row + region.rows;
  const std::int64_t rows = std::min((end + kBlock - 1) / kBlock * kBlock, spec.rows) - first;
  TensorSpec dense_spec = spec;
  dense_spec.encoding = Encoding::kBf16;
  const HostSlice dense = dense_->Slice(dense_spec, {first, rows, region.first_col, region.cols});
  HostSlice host;
  host.owned.resize(
      static_cast<std::size_t>(kernels::BytesOf(Encoding::kFp8, region.rows * region.cols)));
  auto* const to = reinterpret_cast<char*>(host.owned.data());
  ForRows((rows + kBlock - 1) / kBlock, rows * region.cols,
          [&](std::int64_t begin, std::int64_t stop) {
            for (std::int64_t row = begin * kBlock; row < std::min(stop * kBlock, rows);
                 row += kBlock) {
              for (std::int64_t col = 0; col < region.cols; col += kBlock) {
                WriteBlock(dense.slice, {row, col, std::min(kBlock, rows - row)},
                           region.first_row - first, region.rows, to);
              }
            }
          });
  host.slice = {.data = host.owned.data(),
                .encoding = Encoding::kFp8,
                .rows = region.rows,
                .cols = region.cols,
                .row_stride = region.cols};
  return host;
}

std::uint64_t Fp8Weights::identity() const { return HashBytes(dense_->identity(), "fp8 1"); }

}  // namespace thinkwire::worker::model

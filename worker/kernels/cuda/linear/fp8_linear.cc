#include "worker/kernels/cuda/linear/fp8_linear.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/attention/kv_block.cuh"
#include "worker/kernels/cuda/linear/quantize_rows.h"
#include "worker/kernels/cuda/linear/row_order.h"
#include "worker/kernels/cuda/linear/weight_memory.h"
#include "worker/kernels/cuda/norm/rms_norm.h"
#include "worker/kernels/rounded_rows.h"

namespace thinkwire::worker::kernels {
namespace {

static_assert(kFp8Part == kFp8Columns);
static_assert(kFp8PackedBytes == kFp8Columns + sizeof(float));

// The row of a checkpoint's that stands at `row` of the weight.
const char* RowAt(std::span<const WeightSlice> parts, std::int64_t row, LinearLayout layout,
                  const LinearShape& shape) {
  const StackedRow at = FindRow(parts, SourceRow(row, layout, shape.out, kHeadDim));
  return at.part->row(at.row);
}

Buffer UploadCodes(std::span<const WeightSlice> parts, LinearLayout layout,
                   const LinearShape& shape, WeightUpload& upload) {
  return upload.Run(shape.out, shape.in / 2, [&](std::int64_t row, std::uint16_t* to) {
    const char* from = RowAt(parts, row, layout, shape);
    auto* codes = reinterpret_cast<char*>(to);
    for (std::int64_t c = 0; c < shape.in; c += kFp8Columns, from += kFp8PackedBytes) {
      std::memcpy(codes + c, from, kFp8Columns);
    }
  });
}

// In tiles of rows, as Fp8Rows has them.
Buffer UploadScales(std::span<const WeightSlice> parts, LinearLayout layout,
                    const LinearShape& shape, WeightUpload& upload) {
  const std::int64_t tile_scales = Fp8ScaleParts(shape.in) * kFp8TileRows;
  return upload.Run(
      Fp8ScaleTiles(shape.out), 2 * tile_scales, [&](std::int64_t tile, std::uint16_t* to) {
        std::memset(to, 0, static_cast<std::size_t>(tile_scales) * sizeof(float));
        auto* const scales = reinterpret_cast<char*>(to);
        const std::int64_t rows =
            std::min<std::int64_t>(kFp8TileRows, shape.out - tile * kFp8TileRows);
        for (std::int64_t r = 0; r < rows; ++r) {
          const char* block = RowAt(parts, tile * kFp8TileRows + r, layout, shape);
          for (std::int64_t p = 0; p < shape.in / kFp8Part; ++p, block += kFp8PackedBytes) {
            std::memcpy(scales + (p * kFp8TileRows + r) * 4, block + kFp8Columns, sizeof(float));
          }
        }
      });
}

bool IsTaken(const WeightSlice& part) {
  return part.encoding == Encoding::kFp8 && part.order == nullptr &&
         part.cols <= kMostQuantizedColumns;
}

// Bytes of the tokens' codes, after which their scales lie.
std::int64_t CodeBytes(std::int64_t tokens, std::int64_t columns) { return tokens * columns; }

}  // namespace

bool Fp8Linear::Takes(std::span<const WeightSlice> parts, const LinearTools& tools) {
  return tools.multiplies_fp8 && std::ranges::all_of(parts, IsTaken);
}

std::unique_ptr<Fp8Linear> Fp8Linear::Make(std::span<const WeightSlice> parts,
                                           std::span<const WeightSlice> bias, LinearLayout layout,
                                           LinearTools& tools) {
  const LinearShape shape = CheckedLinearShape(parts, bias, layout);
  Check(layout != LinearLayout::kGateUp || parts[0].rows % kHalfTile == 0,
        "a gate-up weight's rows come in eights");
  tools.most_fp8_columns = std::max(tools.most_fp8_columns, shape.in);
  return std::unique_ptr<Fp8Linear>(
      new Fp8Linear(layout, shape, UploadCodes(parts, layout, shape, tools.upload),
                    UploadScales(parts, layout, shape, tools.upload),
                    UploadBias(bias, layout, shape.out, tools.upload), tools));
}

Fp8Linear::Fp8Linear(LinearLayout layout, const LinearShape& shape, Buffer codes, Buffer scales,
                     Buffer bias, LinearTools& tools)
    : CudaLinear(layout, shape),
      codes_(std::move(codes)),
      scales_(std::move(scales)),
      bias_(std::move(bias)),
      tools_(tools) {}

void Fp8Linear::Multiply(const Tensor& x, const LinearOutput& output, OpStream& stream) const {
  const std::int64_t tokens = x.dim(0);
  auto* const codes = static_cast<std::byte*>(tools_.rounded.AtLeast(
      static_cast<std::size_t>(RoundedBytes(tokens, in_features())), stream));
  auto* const scales = reinterpret_cast<float*>(codes + CodeBytes(tokens, in_features()));
  if (const std::optional<ResidualNorm> norm = TakeNorm(x, output, stream)) {
    LaunchRoundedNorm(*norm, codes, scales, stream.Get());
  } else {
    LaunchQuantizeRows(x, codes, scales, stream.Get());
  }
  LaunchFp8Product({.weights = {.codes = codes_.data(),
                                .scales = static_cast<const float*>(scales_.data()),
                                .rows = out_features(),
                                .columns = in_features()},
                    .bias = bias_.data(),
                    .x = {.codes = codes, .scales = scales, .count = static_cast<int>(tokens)},
                    .num_sms = tools_.num_sms},
                   output, stream.Get());
}

}  // namespace thinkwire::worker::kernels

#include "worker/kernels/cuda/linear/bf16_linear.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "worker/kernels/check.h"
#include "worker/kernels/convert.h"
#include "worker/kernels/cuda/attention/kv_block.cuh"
#include "worker/kernels/cuda/device/cuda_check.h"
#include "worker/kernels/cuda/device/device_memory.h"
#include "worker/kernels/cuda/linear/rope_write_kv.h"
#include "worker/kernels/cuda/linear/row_order.h"
#include "worker/kernels/cuda/linear/small_linear.h"
#include "worker/kernels/cuda/linear/swiglu.h"
#include "worker/kernels/cuda/linear/tile_linear.h"

namespace thinkwire::worker::kernels {
namespace {

// Rows [first, first + count) of a matrix.
Tensor Rows(const Tensor& of, std::int64_t first, std::int64_t count) {
  auto* const at = static_cast<std::byte*>(of.data) +
                   static_cast<std::size_t>(first * of.dim(1)) * SizeOf(of.dtype);
  return MakeTensor(at, of.dtype, count, of.dim(1));
}

std::vector<std::uint16_t> Noise(std::int64_t n, std::uint32_t& state) {
  std::vector<std::uint16_t> values(static_cast<std::size_t>(n));
  for (std::uint16_t& value : values) {
    state = state * 1664525U + 1013904223U;
    value = Bf16FromF32(static_cast<float>(static_cast<std::int32_t>(state)) * 0x1p-31F);
  }
  return values;
}

// The product of the first `tokens` rows at `x`, on the host.
std::vector<float> ProductOf(const CudaLinear& weight, void* x, std::int64_t tokens,
                             OpStream& stream) {
  const std::int64_t rows = weight.out_features();
  std::vector<float> values(static_cast<std::size_t>(tokens * rows));
  const std::size_t bytes = values.size() * sizeof(float);
  const Buffer out = AllocateOnDevice(bytes, stream.Get());
  weight.Run(MakeTensor(x, DType::kBf16, tokens, weight.in_features()),
             F32Output{MakeTensor(out.data(), DType::kF32, tokens, rows)}, stream);
  CUDA_CHECK(
      cudaMemcpyAsync(values.data(), out.data(), bytes, cudaMemcpyDeviceToHost, stream.Get()));
  CUDA_CHECK(cudaStreamSynchronize(stream.Get()));
  return values;
}

}  // namespace

std::unique_ptr<Bf16Linear> Bf16Linear::Make(std::span<const WeightSlice> parts,
                                             std::span<const WeightSlice> bias, LinearLayout layout,
                                             LinearTools& tools) {
  const LinearShape shape = CheckedLinearShape(parts, bias, layout);
  Check(shape.in % 8 == 0, "a linear's columns come in eights");
  Check(layout != LinearLayout::kGateUp || parts[0].rows % kHalfTile == 0,
        "a gate-up weight's rows come in eights");
  Buffer matrix = tools.upload.Run(shape.out, shape.in, [&](std::int64_t row, std::uint16_t* to) {
    ConvertRow(FindRow(parts, SourceRow(row, layout, shape.out, kHeadDim)), to);
  });
  Buffer bias_buffer;
  if (!bias.empty()) {
    bias_buffer = tools.upload.Run(shape.out, 1, [&](std::int64_t row, std::uint16_t* to) {
      *to = Bf16FromF32(ElementOf(FindRow(bias, SourceRow(row, layout, shape.out, kHeadDim)), 0));
    });
  }
  return std::unique_ptr<Bf16Linear>(
      new Bf16Linear(layout, shape, std::move(matrix), std::move(bias_buffer), tools));
}

Bf16Linear Bf16Linear::Over(LinearLayout layout, const LinearShape& shape, void* matrix, void* bias,
                            LinearTools& tools) {
  const auto bytes = static_cast<std::size_t>(shape.out * shape.in) * 2;
  const Buffer::Free nothing = [](void*) {};
  return {layout, shape, Buffer(matrix, bytes, nothing), Buffer(bias, 0, nothing), tools};
}

Bf16Linear::Bf16Linear(LinearLayout layout, const LinearShape& shape, Buffer matrix, Buffer bias,
                       LinearTools& tools)
    : CudaLinear(layout, shape),
      matrix_(std::move(matrix)),
      bias_(std::move(bias)),
      tools_(tools) {}

void Bf16Linear::Multiply(const Tensor& x, const LinearOutput& output, OpStream& stream) const {
  if (tools_.has_small_linear && x.dim(0) <= kSmallLinearTokens) {
    RunSmall(x, output, stream);
  } else if (tools_.has_small_linear && x.dim(0) <= MostTileTokens(output, out_features())) {
    RunTiles(x, output, stream);
  } else {
    std::visit([&](const auto& to) { RunLarge(x, to, stream); }, output);
  }
}

void Bf16Linear::RunSmall(const Tensor& x, const LinearOutput& output, OpStream& stream) const {
  const bool can_norm = stream.held() != nullptr && CanNorm(*stream.held());
  const std::optional<ResidualNorm> norm =
      can_norm ? TakeNorm(x, output, stream) : std::optional<ResidualNorm>();
  LaunchSmallLinear({.weights = matrix_.data(),
                     .bias = bias_.data(),
                     .rows = out_features(),
                     .columns = in_features(),
                     .x = x.data,
                     .tokens = static_cast<int>(x.dim(0)),
                     .num_sms = tools_.num_sms,
                     .norm = norm.has_value() ? &*norm : nullptr},
                    output, stream.Get());
}

void Bf16Linear::RunTiles(const Tensor& x, const LinearOutput& output, OpStream& stream) const {
  LaunchTileLinear({.weights = matrix_.data(),
                    .bias = bias_.data(),
                    .rows = out_features(),
                    .columns = in_features(),
                    .x = x.data,
                    .tokens = static_cast<int>(x.dim(0)),
                    .num_sms = tools_.num_sms},
                   output, stream.Get());
}

void Bf16Linear::RunLarge(const Tensor& x, const F32Output& output, OpStream& stream) const {
  if (GoesInPieces()) return RunInPieces(x, output, stream);
  Product(x, output.out, stream);
}

void Bf16Linear::RunLarge(const Tensor& x, const Bf16Output& output, OpStream& stream) const {
  if (GoesInPieces()) return RunInPieces(x, output, stream);
  Product(x, output.out, stream);
}

void Bf16Linear::RunLarge(const Tensor& x, const SwiGluOutput& output, OpStream& stream) const {
  const Tensor sums = Sums(x, DType::kBf16, stream);
  Product(x, sums, stream);
  LaunchSwiGlu(sums, output.out, stream.Get());
}

void Bf16Linear::RunLarge(const Tensor& x, const QkvOutput& output, OpStream& stream) const {
  const Tensor sums = Sums(x, DType::kF32, stream);
  Product(x, sums, stream);
  LaunchRopeWriteKv(sums, bias_.data(), output.rope, output.batch, output.kv, output.q,
                    stream.Get());
}

// cuBLASLt adds outputs that are not whole 16 bytes up in another order.
bool Bf16Linear::GoesInPieces() const { return tools_.has_small_linear && out_features() % 8 != 0; }

template <class Output>
void Bf16Linear::RunInPieces(const Tensor& x, const Output& output, OpStream& stream) const {
  for (std::int64_t first = 0; first < x.dim(0); first += kSmallLinearTokens) {
    const std::int64_t tokens = std::min<std::int64_t>(kSmallLinearTokens, x.dim(0) - first);
    RunSmall(Rows(x, first, tokens), Output{Rows(output.out, first, tokens)}, stream);
  }
}

void Bf16Linear::Product(const Tensor& x, const Tensor& out, OpStream& stream) const {
  tools_.large.Run({.weights = matrix_.data(),
                    .rows = out_features(),
                    .columns = in_features(),
                    .x = x.data,
                    .tokens = x.dim(0),
                    .f32_out = out.dtype == DType::kF32,
                    .out = out.data},
                   stream.Get());
}

Tensor Bf16Linear::Sums(const Tensor& x, DType dtype, OpStream& stream) const {
  const auto elements = static_cast<std::size_t>(x.dim(0) * out_features());
  return MakeTensor(tools_.sums.AtLeast(elements * SizeOf(dtype), stream), dtype, x.dim(0),
                    out_features());
}

bool Bf16WaysAgree(LinearTools& tools, OpStream& stream) {
  if (!tools.has_small_linear) return false;
  constexpr std::int64_t kRows = 192;
  constexpr std::int64_t kColumns = 1096;
  constexpr std::int64_t kTokens = 160;
  std::uint32_t state = 1;
  const auto weight_values = Noise(kRows * kColumns, state);
  const auto x_values = Noise(kTokens * kColumns, state);
  const WeightSlice part = {.data = weight_values.data(),
                            .encoding = Encoding::kBf16,
                            .rows = kRows,
                            .cols = kColumns,
                            .row_stride = kColumns};
  const auto weight = Bf16Linear::Make({&part, 1}, {}, LinearLayout::kPlain, tools);
  const Buffer x = tools.upload.Run(kTokens, kColumns, [&](std::int64_t row, std::uint16_t* to) {
    std::copy_n(x_values.begin() + row * kColumns, kColumns, to);
  });
  const std::vector<float> many = ProductOf(*weight, x.data(), kTokens, stream);
  for (const std::int64_t tokens : {1, 8, 16, 17, 33, 64, 96}) {
    const std::vector<float> few = ProductOf(*weight, x.data(), tokens, stream);
    if (std::memcmp(few.data(), many.data(), few.size() * sizeof(float)) != 0) return false;
  }
  return true;
}

}  // namespace thinkwire::worker::kernels

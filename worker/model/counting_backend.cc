#include "worker/model/counting_backend.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "common/check.h"
#include "worker/kernels/expanded_rows.h"
#include "worker/kernels/rounded_rows.h"
#include "worker/kernels/stacked_rows.h"
#include "worker/kernels/unit_bytes.h"

namespace thinkwire::worker::model {
namespace {

using kernels::Buffer;
using kernels::LinearWeight;
using kernels::Tensor;
using kernels::WeightSlice;

[[noreturn]] void Refuse() { CHECK(false, "a device that counts computes nothing"); }

class CountedLinear final : public LinearWeight {
 public:
  CountedLinear(kernels::DeviceKind device, const kernels::LinearShape& shape, std::size_t bytes)
      : device_(device), shape_(shape), bytes_(bytes) {}

  kernels::DeviceKind device() const override { return device_; }
  std::int64_t out_features() const override { return shape_.out; }
  std::int64_t in_features() const override { return shape_.in; }
  std::size_t bytes() const override { return bytes_; }

 private:
  const kernels::DeviceKind device_;
  const kernels::LinearShape shape_;
  const std::size_t bytes_;
};

class CountedHeads final : public kernels::LatentHeads {
 public:
  CountedHeads(kernels::DeviceKind device, const kernels::LatentShape& shape, std::size_t bytes)
      : device_(device), shape_(shape), bytes_(bytes) {}

  kernels::DeviceKind device() const override { return device_; }
  const kernels::LatentShape& shape() const override { return shape_; }
  std::size_t bytes() const override { return bytes_; }

 private:
  const kernels::DeviceKind device_;
  const kernels::LatentShape shape_;
  const std::size_t bytes_;
};

// Bytes are added up as the experts are set, through `allocate`.
class CountedExperts final : public kernels::ExpertWeights {
 public:
  CountedExperts(kernels::DeviceKind device, const kernels::ExpertShape& shape,
                 std::function<void(std::size_t)> allocate)
      : device_(device), shape_(shape), allocate_(std::move(allocate)) {}

  void Set(std::int64_t, const kernels::ExpertSlices& slices) override {
    std::size_t bytes = 0;
    for (const WeightSlice& slice : {slices.gate, slices.up, slices.down}) {
      // On a GPU experts that are all of FP8 stay so, others become bf16.
      const bool is_kept =
          device_ == kernels::DeviceKind::kCpu || shape_.encoding == kernels::Encoding::kFp8;
      const kernels::Encoding encoding = is_kept ? slice.encoding : kernels::Encoding::kBf16;
      bytes += static_cast<std::size_t>(kernels::BytesOf(encoding, slice.rows * slice.cols));
    }
    allocate_(bytes);
    bytes_ += bytes;
  }
  kernels::DeviceKind device() const override { return device_; }
  const kernels::ExpertShape& shape() const override { return shape_; }
  std::size_t bytes() const override { return bytes_; }

 private:
  const kernels::DeviceKind device_;
  const kernels::ExpertShape shape_;
  const std::function<void(std::size_t)> allocate_;
  std::size_t bytes_ = 0;
};

// There is no work that could be waited for.
class NoFence final : public kernels::Fence {
 public:
  void Record() override {}
  void Wait() override {}
};

// What cudaMalloc gives at least, and the multiples in which it gives more.
constexpr std::int64_t kCudaPiece = 2 << 20;

constexpr std::int64_t RoundedUp(std::int64_t bytes, std::int64_t piece) {
  return (bytes + piece - 1) / piece * piece;
}

Buffer SizeAlone(std::size_t bytes) { return {nullptr, bytes, nullptr}; }

std::size_t BytesOf(std::span<const WeightSlice> slices) {
  std::size_t bytes = 0;
  for (const WeightSlice& slice : slices) {
    bytes += static_cast<std::size_t>(kernels::BytesOf(slice.encoding, slice.rows * slice.cols));
  }
  return bytes;
}

// Whether the device keeps a matrix of whole units in them.
bool KeepsUnits(const kernels::Capabilities& device, std::span<const WeightSlice> parts) {
  return absl::StartsWith(device.name, "cuda-sm9") &&
         std::ranges::all_of(parts, [](const WeightSlice& part) {
           return part.rows % 8 == 0 && part.cols % 128 == 0;
         });
}

// Whether the device multiplies a matrix as it lies by inputs in FP8.
bool RoundsInputs(const kernels::Capabilities& device, std::span<const WeightSlice> parts) {
  return absl::StrContains(device.name, "-fp8_inputs") &&
         std::ranges::all_of(parts, [](const WeightSlice& part) {
           return part.encoding == kernels::Encoding::kFp8;
         });
}

std::size_t UnitBytesOf(std::span<const WeightSlice> slices) {
  std::int64_t bytes = 0;
  for (const WeightSlice& slice : slices) {
    bytes += kernels::UnitBytesOf(slice.encoding, slice.rows * slice.cols);
  }
  return static_cast<std::size_t>(bytes);
}

}  // namespace

std::int64_t CountingBackend::device_bytes() const {
  if (!is_cuda()) return ahead_bytes_ + apart_bytes_;
  return RoundedUp(ahead_bytes_, kCudaPiece) + apart_bytes_ +
         RoundedUp(expanded_bytes_, kCudaPiece);
}

void CountingBackend::TakeApart(std::int64_t bytes) {
  apart_bytes_ += is_cuda() ? RoundedUp(bytes, kCudaPiece) : bytes;
}

Buffer CountingBackend::Allocate(std::size_t bytes) {
  const auto asked = static_cast<std::int64_t>(bytes);
  ahead_bytes_ += is_cuda() ? RoundedUp(asked, kernels::kAheadAlignment) : asked;
  return SizeAlone(bytes);
}

Buffer CountingBackend::AllocateHost(std::size_t bytes) {
  host_bytes_ += static_cast<std::int64_t>(bytes);
  return SizeAlone(bytes);
}

std::unique_ptr<kernels::Fence> CountingBackend::MakeFence() { return std::make_unique<NoFence>(); }

void CountingBackend::Reserve(const kernels::StepExtent& extent) {
  if (!is_cuda()) return;
  TakeApart(extent.product_bytes());
  if (rounded_columns_ > 0) TakeApart(kernels::RoundedBytes(extent.max_tokens, rounded_columns_));
}

void CountingBackend::ReserveParts(const kernels::PartsExtent& extent) {
  if (is_cuda()) {
    TakeApart(extent.device_bytes());
  } else if (extent.mix.per_token > 0) {  // each expert's tokens, gated and out (mix_experts.cc)
    const std::int64_t floats = 2 * extent.mix.hidden + extent.mix.ffn;
    TakeApart(extent.mix.max_tokens * floats * static_cast<std::int64_t>(sizeof(float)));
  }
}

// A device keeps a matrix in the encoding that it is counted in, or in units of it. A GPU makes
// bf16 of a packed one, or of a piece of it, in memory that all of them share.
std::unique_ptr<LinearWeight> CountingBackend::MakeLinear(std::span<const WeightSlice> parts,
                                                          std::span<const WeightSlice> bias,
                                                          kernels::LinearLayout layout) {
  const kernels::LinearShape shape = kernels::CheckedLinearShape(parts, bias, layout);
  const bool is_packed = std::ranges::any_of(
      parts, [](const WeightSlice& part) { return kernels::IsPacked(part.encoding); });
  if (RoundsInputs(capabilities_, parts)) {
    rounded_columns_ = std::max(rounded_columns_, shape.in);
  } else if (is_packed && is_cuda()) {
    const std::int64_t rows = kernels::ExpandedRows(layout, parts.size(), shape.out);
    expanded_bytes_ = std::max(expanded_bytes_, 2 * rows * shape.in);
  }
  const Buffer matrix =
      Allocate(KeepsUnits(capabilities_, parts) ? UnitBytesOf(parts) : BytesOf(parts));
  Allocate(BytesOf(bias));
  return std::make_unique<CountedLinear>(capabilities_.kind, shape, matrix.bytes());
}

Buffer CountingBackend::MakeTable(const WeightSlice& slice) {
  return Allocate(static_cast<std::size_t>(2 * slice.rows * slice.cols));
}

Buffer CountingBackend::MakeHostTable(const WeightSlice& slice) {
  return AllocateHost(static_cast<std::size_t>(2 * slice.rows * slice.cols));
}

// What is turned is bf16 on any device; a GPU keeps all of it so.
std::unique_ptr<kernels::LatentHeads> CountingBackend::MakeLatentHeads(
    const WeightSlice& rows, const kernels::LatentShape& shape) {
  const std::int64_t turned = shape.heads * shape.plain * shape.latent * 2;
  const bool is_kept = capabilities_.kind == kernels::DeviceKind::kCpu;
  const std::int64_t values = kernels::BytesOf(is_kept ? rows.encoding : kernels::Encoding::kBf16,
                                               shape.heads * shape.result * shape.latent);
  const Buffer all = Allocate(static_cast<std::size_t>(turned + values));
  return std::make_unique<CountedHeads>(capabilities_.kind, shape, all.bytes());
}

std::unique_ptr<kernels::ExpertWeights> CountingBackend::MakeExperts(
    const kernels::ExpertShape& shape) {
  return std::make_unique<CountedExperts>(capabilities_.kind, shape, [this](std::size_t bytes) {
    apart_bytes_ += static_cast<std::int64_t>(bytes);
  });
}

void CountingBackend::CopyToHost(void*, const void*, std::size_t) { Refuse(); }
void CountingBackend::CopyOnDevice(void*, const void*, std::size_t) { Refuse(); }
std::unique_ptr<kernels::Stamp> CountingBackend::MakeStamp() { Refuse(); }
std::unique_ptr<kernels::Replay> CountingBackend::Record(std::function<void()>) { Refuse(); }
void CountingBackend::Scatter(const Tensor&, const Tensor&, const Tensor&) { Refuse(); }
void CountingBackend::GatherInputIds(const Tensor&, const Tensor&, const Tensor&, const Tensor&) {
  Refuse();
}
void CountingBackend::Embed(const Tensor&, const Tensor&, const Tensor&) { Refuse(); }
void CountingBackend::GatherRows(const Tensor&, const Tensor&, const Tensor&) { Refuse(); }
void CountingBackend::RmsNorm(const Tensor&, const Tensor&, float, const Tensor&) { Refuse(); }
void CountingBackend::AddRmsNorm(const kernels::ResidualNorm&) { Refuse(); }
void CountingBackend::QkvRopeWriteKv(const Tensor&, const LinearWeight&, const Tensor&,
                                     const kernels::BatchView&, const kernels::KvLayer&,
                                     const Tensor&) {
  Refuse();
}
void CountingBackend::PagedAttention(const Tensor&, const kernels::BatchView&,
                                     const kernels::KvLayer&, float, const Tensor&) {
  Refuse();
}
void CountingBackend::WriteLatents(const kernels::LatentKeys&, const kernels::PairRotation&,
                                   const kernels::BatchView&, const kernels::KvLayer&) {
  Refuse();
}
void CountingBackend::AbsorbQueries(const Tensor&, const kernels::LatentHeads&,
                                    const kernels::PairRotation&, const kernels::BatchView&,
                                    const Tensor&) {
  Refuse();
}
void CountingBackend::AttendLatents(const Tensor&, const kernels::BatchView&,
                                    const kernels::KvLayer&, float, const Tensor&) {
  Refuse();
}
void CountingBackend::LatentValues(const Tensor&, const kernels::LatentHeads&, std::int64_t,
                                   const Tensor&) {
  Refuse();
}
void CountingBackend::RouteExperts(const Tensor&, const LinearWeight&, const kernels::Routing&,
                                   const std::int32_t*, const kernels::ExpertChoice&) {
  Refuse();
}
void CountingBackend::MixExperts(const Tensor&, const kernels::ExpertMix&, const Tensor&) {
  Refuse();
}
void CountingBackend::Linear(const Tensor&, const LinearWeight&, const Tensor&) { Refuse(); }
void CountingBackend::GateUpSwiGlu(const Tensor&, const LinearWeight&, const Tensor&) { Refuse(); }
void CountingBackend::LmHead(const Tensor&, const LinearWeight&, const Tensor&) { Refuse(); }
void CountingBackend::AdjustLogits(const Tensor&, const kernels::DrawView&,
                                   const kernels::AdjustView&, const Tensor&) {
  Refuse();
}
void CountingBackend::BeginCounts(const kernels::CountsBegin*, std::int32_t, const std::int32_t*,
                                  const Tensor&) {
  Refuse();
}
void CountingBackend::CountDraws(const kernels::DrawView&, const Tensor&, const Tensor&) {
  Refuse();
}
void CountingBackend::Draw(const Tensor&, const kernels::DrawView&, const Tensor&, const Tensor&,
                           const Tensor&, const Tensor&) {
  Refuse();
}
void CountingBackend::Logprobs(const Tensor&, const kernels::LogprobsView&) { Refuse(); }

}  // namespace thinkwire::worker::model

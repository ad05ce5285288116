#include "worker/model/counting_backend.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "worker/kernels/stacked_rows.h"

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

// There is no work that could be waited for.
class NoFence final : public kernels::Fence {
 public:
  void Record() override {}
  void Wait() override {}
};

Buffer SizeAlone(std::size_t bytes) { return {nullptr, bytes, nullptr}; }

std::size_t BytesOf(std::span<const WeightSlice> slices) {
  std::size_t bytes = 0;
  for (const WeightSlice& slice : slices) {
    bytes += static_cast<std::size_t>(kernels::BytesOf(slice.encoding, slice.rows * slice.cols));
  }
  return bytes;
}

}  // namespace

Buffer CountingBackend::Allocate(std::size_t bytes) {
  device_bytes_ += static_cast<std::int64_t>(bytes);
  return SizeAlone(bytes);
}

Buffer CountingBackend::AllocateHost(std::size_t bytes) {
  host_bytes_ += static_cast<std::int64_t>(bytes);
  return SizeAlone(bytes);
}

std::unique_ptr<kernels::Fence> CountingBackend::MakeFence() { return std::make_unique<NoFence>(); }

void CountingBackend::Reserve(const kernels::StepExtent& extent) {
  if (capabilities_.kind == kernels::DeviceKind::kCuda) device_bytes_ += extent.product_bytes();
}

// A device keeps a matrix in the encoding that it is counted in. A GPU makes bf16 of a packed one
// in memory that all of them share.
std::unique_ptr<LinearWeight> CountingBackend::MakeLinear(std::span<const WeightSlice> parts,
                                                          std::span<const WeightSlice> bias,
                                                          kernels::LinearLayout layout) {
  const kernels::LinearShape shape = kernels::CheckedLinearShape(parts, bias, layout);
  const bool is_packed = std::ranges::any_of(
      parts, [](const WeightSlice& part) { return kernels::IsPacked(part.encoding); });
  const auto dense_bytes = static_cast<std::int64_t>(2 * shape.out * shape.in);
  const bool is_cuda = capabilities_.kind == kernels::DeviceKind::kCuda;
  if (is_packed && is_cuda && dense_bytes > expanded_bytes_) {
    device_bytes_ += dense_bytes - std::exchange(expanded_bytes_, dense_bytes);
  }
  const Buffer matrix = Allocate(BytesOf(parts));
  Allocate(BytesOf(bias));
  return std::make_unique<CountedLinear>(capabilities_.kind, shape, matrix.bytes());
}

Buffer CountingBackend::MakeTable(const WeightSlice& slice) {
  return Allocate(static_cast<std::size_t>(2 * slice.rows * slice.cols));
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

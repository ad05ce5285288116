#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>

#include "worker/kernels/backend.h"

namespace thinkwire::worker::model {

// A device that gives no memory but adds up what it is asked for. What is built on it is built as
// on the real one, so that nothing is forgotten and nothing counted twice. Its buffers and weights
// have sizes and nothing else; it computes nothing (Checked). A GPU's pieces are counted as it
// rounds them up: what it takes ahead (Backend::TakeAhead) in one, the rest by themselves.
// Not counted: what the real device adds to a matrix to fill up its own layout, the scratch memory
// of a CPU's ops and of a GPU's attention over keys and values, and what its libraries take.
// Threads: one.
class CountingBackend final : public kernels::Backend {
 public:
  // Answers for a device of these capabilities.
  explicit CountingBackend(kernels::Capabilities capabilities)
      : capabilities_(std::move(capabilities)) {}

  // Device memory asked for so far, with what a Reserve takes and what a device rounds up.
  std::int64_t device_bytes() const;
  // Of that what TakeAhead can take in one.
  std::int64_t ahead_bytes() const { return ahead_bytes_; }
  // Of AllocateHost.
  std::int64_t host_bytes() const { return host_bytes_; }

  const kernels::Capabilities& capabilities() const override { return capabilities_; }
  kernels::Buffer Allocate(std::size_t bytes) override;
  kernels::Buffer AllocateHost(std::size_t bytes) override;
  std::int64_t FreeMemory() const override { return 0; }
  void CopyToDevice(void*, const void*, std::size_t) override {}
  void CopyToHost(void*, const void*, std::size_t) override;
  void CopyOnDevice(void*, const void*, std::size_t) override;
  void Synchronize() override {}
  std::unique_ptr<kernels::Fence> MakeFence() override;
  std::unique_ptr<kernels::Stamp> MakeStamp() override;
  std::unique_ptr<kernels::Replay> Record(std::function<void()> ops) override;
  void Reserve(const kernels::StepExtent& extent) override;
  void ReserveParts(const kernels::PartsExtent& extent) override;
  std::unique_ptr<kernels::LinearWeight> MakeLinear(std::span<const kernels::WeightSlice> parts,
                                                    std::span<const kernels::WeightSlice> bias,
                                                    kernels::LinearLayout layout) override;
  kernels::Buffer MakeTable(const kernels::WeightSlice& slice) override;
  kernels::Buffer MakeHostTable(const kernels::WeightSlice& slice) override;
  std::unique_ptr<kernels::LatentHeads> MakeLatentHeads(const kernels::WeightSlice& rows,
                                                        const kernels::LatentShape& shape) override;
  std::unique_ptr<kernels::ExpertWeights> MakeExperts(const kernels::ExpertShape& shape) override;
  bool EmbedsPacked() const override { return capabilities_.kind == kernels::DeviceKind::kCpu; }

  void Scatter(const kernels::Tensor&, const kernels::Tensor&, const kernels::Tensor&) override;
  void GatherInputIds(const kernels::Tensor&, const kernels::Tensor&, const kernels::Tensor&,
                      const kernels::Tensor&) override;
  void Embed(const kernels::Tensor&, const kernels::Tensor&, const kernels::Tensor&) override;
  void GatherRows(const kernels::Tensor&, const kernels::Tensor&, const kernels::Tensor&) override;
  void RmsNorm(const kernels::Tensor&, const kernels::Tensor&, float,
               const kernels::Tensor&) override;
  void AddRmsNorm(const kernels::ResidualNorm&) override;
  void QkvRopeWriteKv(const kernels::Tensor&, const kernels::LinearWeight&, const kernels::Tensor&,
                      const kernels::BatchView&, const kernels::KvLayer&,
                      const kernels::Tensor&) override;
  void PagedAttention(const kernels::Tensor&, const kernels::BatchView&, const kernels::KvLayer&,
                      float, const kernels::Tensor&) override;
  void WriteLatents(const kernels::LatentKeys&, const kernels::PairRotation&,
                    const kernels::BatchView&, const kernels::KvLayer&) override;
  void AbsorbQueries(const kernels::Tensor&, const kernels::LatentHeads&,
                     const kernels::PairRotation&, const kernels::BatchView&,
                     const kernels::Tensor&) override;
  void AttendLatents(const kernels::Tensor&, const kernels::BatchView&, const kernels::KvLayer&,
                     float, const kernels::Tensor&) override;
  void LatentValues(const kernels::Tensor&, const kernels::LatentHeads&, std::int64_t,
                    const kernels::Tensor&) override;
  void RouteExperts(const kernels::Tensor&, const kernels::LinearWeight&, const kernels::Routing&,
                    const std::int32_t*, const kernels::ExpertChoice&) override;
  void MixExperts(const kernels::Tensor&, const kernels::ExpertMix&,
                  const kernels::Tensor&) override;
  void Linear(const kernels::Tensor&, const kernels::LinearWeight&,
              const kernels::Tensor&) override;
  void GateUpSwiGlu(const kernels::Tensor&, const kernels::LinearWeight&,
                    const kernels::Tensor&) override;
  void LmHead(const kernels::Tensor&, const kernels::LinearWeight&,
              const kernels::Tensor&) override;
  void AdjustLogits(const kernels::Tensor&, const kernels::DrawView&, const kernels::AdjustView&,
                    const kernels::Tensor&) override;
  void BeginCounts(const kernels::CountsBegin*, std::int32_t, const std::int32_t*,
                   const kernels::Tensor&) override;
  void CountDraws(const kernels::DrawView&, const kernels::Tensor&,
                  const kernels::Tensor&) override;
  void Draw(const kernels::Tensor&, const kernels::DrawView&, const kernels::Tensor&,
            const kernels::Tensor&, const kernels::Tensor&, const kernels::Tensor&) override;
  void Logprobs(const kernels::Tensor&, const kernels::LogprobsView&) override;

 private:
  bool is_cuda() const { return capabilities_.kind == kernels::DeviceKind::kCuda; }
  // A piece of its own.
  void TakeApart(std::int64_t bytes);

  const kernels::Capabilities capabilities_;
  std::int64_t ahead_bytes_ = 0;
  std::int64_t apart_bytes_ = 0;
  std::int64_t expanded_bytes_ = 0;   // apart too: for the largest packed matrix as bf16
  std::int64_t rounded_columns_ = 0;  // of the widest matrix whose inputs a GPU rounds to FP8
  std::int64_t host_bytes_ = 0;
};

}  // namespace thinkwire::worker::model

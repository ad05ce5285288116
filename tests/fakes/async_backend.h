#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "worker/kernels/cpu/cpu_backend.h"

namespace thinkwire::worker::kernels {

// A device as asynchronous as a GPU, over a CpuBackend: what it is given runs later, in order, on a
// thread of its own. Copies from and to AllocateHost's memory happen only then, and a recorded op
// runs again with the very arguments that it was recorded with.
// Threads: the Backend's functions and Give on one; Hold, Release and Await… on any.
class AsyncBackend : public Backend {
 public:
  AsyncBackend(int num_threads, bool gains_by_recording);
  ~AsyncBackend() override;  // runs what is left

  // The device stands still before its next op, until Release.
  void Hold();
  void Release();

  // Whether `count` copies to AllocateHost's memory were asked for, waiting up to 30 seconds.
  bool AwaitCopiesAsked(int count);

  std::uint64_t num_given() const;  // ops and copies, recorded ones by their replays alone
  int num_replays() const;

  // Runs `op` on the device's thread after all that was given before, or records it.
  void Give(std::function<void()> op);

  const Capabilities& capabilities() const override { return capabilities_; }
  Buffer Allocate(std::size_t bytes) override { return cpu_.Allocate(bytes); }
  Buffer AllocateHost(std::size_t bytes) override;
  std::int64_t FreeMemory() const override { return 0; }
  void CopyToDevice(void* device, const void* host, std::size_t bytes) override;
  void CopyToHost(void* host, const void* device, std::size_t bytes) override;
  void CopyOnDevice(void* to, const void* from, std::size_t bytes) override;
  void Synchronize() override;
  std::unique_ptr<Fence> MakeFence() override;
  std::unique_ptr<Stamp> MakeStamp() override;
  std::unique_ptr<Replay> Record(std::function<void()> ops) override;

  std::unique_ptr<LinearWeight> MakeLinear(std::span<const WeightSlice> parts,
                                           std::span<const WeightSlice> bias,
                                           LinearLayout layout) override;
  Buffer MakeTable(const WeightSlice& slice) override;
  std::unique_ptr<LatentHeads> MakeLatentHeads(const WeightSlice& rows,
                                               const LatentShape& shape) override;
  std::unique_ptr<ExpertWeights> MakeExperts(const ExpertShape& shape) override;

  void Scatter(const Tensor& index, const Tensor& values, const Tensor& to) override;
  void GatherInputIds(const Tensor& given, const Tensor& source_slot, const Tensor& last_drawn,
                      const Tensor& ids) override;
  void Embed(const Tensor& ids, const Tensor& table, const Tensor& out) override;
  void GatherRows(const Tensor& x, const Tensor& rows, const Tensor& out) override;
  void RmsNorm(const Tensor& x, const Tensor& weight, float eps, const Tensor& out) override;
  void AddRmsNorm(const ResidualNorm& norm) override;
  void QkvRopeWriteKv(const Tensor& x, const LinearWeight& qkv, const Tensor& rope,
                      const BatchView& batch, const KvLayer& kv, const Tensor& q) override;
  void PagedAttention(const Tensor& q, const BatchView& batch, const KvLayer& kv, float scale,
                      const Tensor& out) override;
  void WriteLatents(const LatentKeys& keys, const PairRotation& rotation, const BatchView& batch,
                    const KvLayer& kv) override;
  void AbsorbQueries(const Tensor& q, const LatentHeads& heads, const PairRotation& rotation,
                     const BatchView& batch, const Tensor& out) override;
  void AttendLatents(const Tensor& queries, const BatchView& batch, const KvLayer& kv, float scale,
                     const Tensor& out) override;
  void LatentValues(const Tensor& latents, const LatentHeads& heads, std::int64_t first_head,
                    const Tensor& out) override;
  void RouteExperts(const Tensor& x, const LinearWeight& gate, const Routing& routing,
                    const std::int32_t* token_seq, const ExpertChoice& choice) override;
  void MixExperts(const Tensor& x, const ExpertMix& mix, const Tensor& out) override;
  void Linear(const Tensor& x, const LinearWeight& weight, const Tensor& out) override;
  void GateUpSwiGlu(const Tensor& x, const LinearWeight& gate_up, const Tensor& out) override;
  void LmHead(const Tensor& x, const LinearWeight& weight, const Tensor& logits) override;
  void Draw(const Tensor& logits, const DrawView& view, const Tensor& ids, const Tensor& logprobs,
            const Tensor& not_finite, const Tensor& last_drawn) override;
  void Logprobs(const Tensor& logits, const LogprobsView& view) override;
  void AdjustLogits(const Tensor& logits, const DrawView& view, const AdjustView& adjust,
                    const Tensor& adjusted) override;
  void BeginCounts(const CountsBegin* begins, std::int32_t num_begins, const std::int32_t* ids,
                   const Tensor& counts) override;
  void CountDraws(const DrawView& view, const Tensor& ids, const Tensor& counts) override;

 private:
  using Ops = std::vector<std::function<void()>>;
  class DeviceFence;
  class DeviceStamp;
  class DeviceReplay;

  void RunDevice();
  void AwaitDone(std::uint64_t count);
  bool IsPinned(const void* host, std::size_t bytes) const;

  CpuBackend cpu_;
  const Capabilities capabilities_;
  std::vector<std::pair<const std::byte*, std::size_t>> pinned_;  // live as long as the backend
  Ops* recording_ = nullptr;                                      // in Record

  mutable Mutex mu_;
  CondVar changed_;
  std::deque<std::function<void()>> queue_ ABSL_GUARDED_BY(mu_);
  std::uint64_t given_ ABSL_GUARDED_BY(mu_) = 0;
  std::uint64_t done_ ABSL_GUARDED_BY(mu_) = 0;
  int copies_asked_ ABSL_GUARDED_BY(mu_) = 0;
  int replays_ ABSL_GUARDED_BY(mu_) = 0;
  bool held_ ABSL_GUARDED_BY(mu_) = false;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;

  std::thread device_;
};

}  // namespace thinkwire::worker::kernels

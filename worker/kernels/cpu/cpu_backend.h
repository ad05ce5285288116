#pragma once

#include <memory>
#include <vector>

#include "worker/kernels/backend.h"
#include "worker/kernels/cpu/cpu_linear_weight.h"
#include "worker/kernels/cpu/linear_loop.h"
#include "worker/kernels/cpu/row_kernels.h"
#include "worker/kernels/cpu/thread_pool.h"

namespace thinkwire::worker::kernels {

// The op contract on this machine's cores: f32 activations and KV, weights that are bf16
// or become it as they are read. The same bits for every instruction set and thread count
// (row_kernels_impl.h, attention_kernel.h say the order).
//
// Each op is one file, cpu/<op>.cc. A KV block holds keys as [K, D, B] and values as [K, B, D].
// Ops are done when they return. Owns: its threads and scratch memory.
class CpuBackend final : public Backend {
 public:
  // `fp8_inputs` as DeviceConfig's. REQUIRES: num_threads >= 1, IsSupported(isa).
  explicit CpuBackend(int num_threads, Isa isa = BestIsa(), bool fp8_inputs = false);

  const Capabilities& capabilities() const override { return capabilities_; }

  Buffer Allocate(std::size_t bytes) override;
  Buffer AllocateHost(std::size_t bytes) override { return Allocate(bytes); }
  std::int64_t FreeMemory() const override { return 0; }
  void CopyToDevice(void* device, const void* host, std::size_t bytes) override;
  void CopyToHost(void* host, const void* device, std::size_t bytes) override;
  void CopyOnDevice(void* to, const void* from, std::size_t bytes) override;
  void Synchronize() override {}
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
  bool EmbedsPacked() const override { return true; }
  void EmbedPacked(const Tensor& ids, const WeightSlice& table, const Tensor& out) override;
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

  // Runs loops on the backend's threads: for measurements of what these threads can do.
  ThreadPool& pool() { return pool_; }

 private:
  // x [T, in] as the linear kernels read it: rows padded to whole blocks of 32, in a weight's
  // order.
  struct PaddedRows {
    const float* data;
    std::int64_t stride;
  };
  PaddedRows Pad(const Tensor& x, const CpuLinearWeight& weight);
  // x [T, in] with its columns in a weight's order.
  const float* Gather(const Tensor& x, const std::vector<std::int32_t>& order);
  // x [T, in] with each row rounded to FP8 by a scale of its own, and back.
  const float* Round(const Tensor& x);
  // out [T, out] = x W^T + bias for a kPlain or kQkv weight.
  void ApplyRows(const Tensor& x, const CpuLinearWeight& weight, float* out);

  const RowKernels& rows_;
  const bool fp8_inputs_;
  ThreadPool pool_;
  const Capabilities capabilities_;
  std::vector<float> padded_;     // Pad, Gather, Round
  PanelScratch unpacked_;         // products with packed weights
  std::vector<float> qkv_;        // QkvRopeWriteKv: [T, (H + 2K) * D]
  std::vector<float> attention_;  // PagedAttention: each thread's or each segment's state
  std::vector<float> latents_;    // WriteLatents, AbsorbQueries, LatentValues: one head's rows
  std::vector<float> experts_;    // MixExperts: rows of one expert's tokens
  std::vector<float> sampling_;   // Draw, Logprobs: each thread's rows of the vocabulary
};

}  // namespace thinkwire::worker::kernels

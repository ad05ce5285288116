#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>

#include "worker/kernels/backend.h"
#include "worker/kernels/cuda/attention/paged_attention.h"
#include "worker/kernels/cuda/device/device_memory.h"
#include "worker/kernels/cuda/linear/linear_tools.h"
#include "worker/kernels/cuda/stream/op_stream.h"
#include "worker/kernels/cuda/stream/scratch.h"

namespace thinkwire::worker::kernels {

// The op contract on one NVIDIA GPU: bf16 activations, weights and KV, sums in f32.
//
// Weights multiply by themselves (cuda_linear.h), few tokens in another way than many; both add up
// in one chain of k16 steps, so that a token's bits do not depend on the tokens beside it. The
// constructor checks that on the device at hand; where it does not hold, its name begins with
// "cuda-smXY-inexact". Where products round their inputs to FP8 it begins with
// "cuda-smXY-fp8_inputs".
//
// Scratch memory is what Reserve took, or grows the first time that larger shapes come; cuBLASLt's
// algorithms are timed then too. So a warm-up with the largest shapes comes before any recording,
// and nothing is allocated after it.
// The norm of a single token is done by the QKV, gate-up or head product that follows and reads it
// (op_stream.h, LinearTools::CanNormOnTheWay), any norm by the rounding before such a product with
// FP8 inputs.
// Owns: a stream, scratch memory, what its weights share. Threads: the rank's.
class CudaBackend final : public Backend {
 public:
  // `memory_bytes` as DeviceConfig's gpu_memory_bytes, `fp8_inputs` as its own.
  // REQUIRES: 0 <= device < number of GPUs.
  explicit CudaBackend(int device, std::int64_t memory_bytes = 0, bool fp8_inputs = false);
  ~CudaBackend() override;

  const Capabilities& capabilities() const override { return capabilities_; }

  Buffer Allocate(std::size_t bytes) override;
  Buffer AllocateHost(std::size_t bytes) override;
  std::int64_t FreeMemory() const override;
  void TakeAhead(std::size_t bytes) override;
  void CopyToDevice(void* device, const void* host, std::size_t bytes) override;
  void CopyToHost(void* host, const void* device, std::size_t bytes) override;
  void CopyOnDevice(void* to, const void* from, std::size_t bytes) override;
  void Synchronize() override;
  std::unique_ptr<Fence> MakeFence() override;
  std::unique_ptr<Stamp> MakeStamp() override;
  std::unique_ptr<Replay> Record(std::function<void()> ops) override;
  void* ShareStream() override { return stream_->Share(); }
  void Reserve(const StepExtent& extent) override;
  void ReserveParts(const PartsExtent& extent) override;

  std::unique_ptr<LinearWeight> MakeLinear(std::span<const WeightSlice> parts,
                                           std::span<const WeightSlice> bias,
                                           LinearLayout layout) override;
  Buffer MakeTable(const WeightSlice& slice) override;
  Buffer MakeHostTable(const WeightSlice& slice) override;
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
  // Sized for the largest step so far.
  struct AttentionState {
    AttentionWorkspace workspace;
    int seqs = 0;
    int kv_heads = 0;
  };

  void Use() const;  // makes this backend's GPU the calling thread's
  // Lays attention's scratch memory out for steps of so many sequences, if it is not yet.
  void PrepareAttention(int max_seqs, int num_kv_heads);
  void Norm(const ResidualNorm& norm);
  Capabilities Describe();  // once all else is there

  const int device_;
  const std::int64_t memory_bytes_;
  cudaDeviceProp properties_ = {};
  DeviceMemory memory_;  // of weights and of what Allocate gives
  std::unique_ptr<OpStream> stream_;
  std::unique_ptr<LinearTools> linear_tools_;
  Capabilities capabilities_;
  Scratch attention_scratch_;  // partial results of decode
  AttentionState attention_;
  Scratch draw_scratch_;    // where blocks of few rows meet
  Scratch latent_scratch_;  // latent attention's partial results
  Scratch expert_scratch_;  // what is between the experts' products
};

}  // namespace thinkwire::worker::kernels

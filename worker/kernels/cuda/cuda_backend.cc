#include "worker/kernels/cuda/cuda_backend.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "worker/kernels/cuda/attention/kv_block.cuh"
#include "worker/kernels/cuda/device/cuda_check.h"
#include "worker/kernels/cuda/device/device_memory.h"
#include "worker/kernels/cuda/experts/cuda_experts.h"
#include "worker/kernels/cuda/experts/expert_ops.h"
#include "worker/kernels/cuda/latent/cuda_latent_heads.h"
#include "worker/kernels/cuda/latent/latent_ops.h"
#include "worker/kernels/cuda/linear/bf16_linear.h"
#include "worker/kernels/cuda/linear/blocks_linear.h"
#include "worker/kernels/cuda/linear/cuda_linear.h"
#include "worker/kernels/cuda/linear/fp8_linear.h"
#include "worker/kernels/cuda/linear/int4_linear.h"
#include "worker/kernels/cuda/linear/linear_output.h"
#include "worker/kernels/cuda/linear/unit_linear.h"
#include "worker/kernels/cuda/move_ops.h"
#include "worker/kernels/cuda/norm/rms_norm.h"
#include "worker/kernels/cuda/sampling/adjust_logits.h"
#include "worker/kernels/cuda/sampling/draw.h"
#include "worker/kernels/cuda/stream/stream_order.h"
#include "worker/kernels/stacked_rows.h"

namespace thinkwire::worker::kernels {
namespace {

// A kernel that reads or writes host memory itself starts sooner than a copy engine takes over from
// kernels and hands back to them, which counts between two steps; long copies are the engine's.
bool CopiesByKernel(const void* device, const void* host, std::size_t bytes) {
  constexpr std::size_t kLongest = 64 << 10;
  const auto aligned = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; };
  if (bytes > kLongest || bytes % 4 != 0 || !aligned(device) || !aligned(host)) return false;
  cudaPointerAttributes attributes = {};
  CUDA_CHECK(cudaPointerGetAttributes(&attributes, host));
  return attributes.type == cudaMemoryTypeHost;
}

// [T, any] of [T, H, any].
Tensor AsRows(const Tensor& x) {
  return MakeTensor(x.data, x.dtype, x.dim(0), x.dim(1) * x.dim(2));
}

// Rows [first, first + count) of a matrix, or nothing of nothing.
Tensor Rows(const Tensor& of, std::int64_t first, std::int64_t count) {
  if (of.data == nullptr) return of;
  auto* const at = static_cast<std::byte*>(of.data) +
                   static_cast<std::size_t>(first * of.dim(1)) * SizeOf(of.dtype);
  return MakeTensor(at, of.dtype, count, of.dim(1));
}

}  // namespace

CudaBackend::CudaBackend(int device, std::int64_t memory_bytes, bool fp8_inputs)
    : device_(device), memory_bytes_(memory_bytes) {
  Use();
  CUDA_CHECK(cudaGetDeviceProperties(&properties_, device_));
  stream_ = std::make_unique<OpStream>();
  linear_tools_ = std::make_unique<LinearTools>(properties_, memory_, fp8_inputs, *stream_);
  capabilities_ = Describe();
  if (capabilities_.attends_to_latents) PrepareLatentAttention(properties_.major == 9);
}

CudaBackend::~CudaBackend() { stream_->Finish(); }

void CudaBackend::Use() const { CUDA_CHECK(cudaSetDevice(device_)); }

Capabilities CudaBackend::Describe() {
  const bool is_exact = Bf16WaysAgree(*linear_tools_, *stream_);
  return {.name = "cuda-sm" + std::to_string(properties_.major) +
                  std::to_string(properties_.minor) +
                  (linear_tools_->multiplies_fp8 ? "-fp8_inputs" : "") +
                  (is_exact ? " " : "-inexact ") + properties_.name,
          .kind = DeviceKind::kCuda,
          .activation = DType::kBf16,
          .only_head_dim = kHeadDim,
          .gains_by_recording = true,
          .attends_to_latents = CanAttendLatents(properties_.sharedMemPerBlockOptin)};
}

Buffer CudaBackend::Allocate(std::size_t bytes) {
  Use();
  return memory_.Allocate(bytes, stream_->Get());
}

void CudaBackend::TakeAhead(std::size_t bytes) {
  Use();
  memory_.TakeAhead(bytes, stream_->Get());
}

Buffer CudaBackend::AllocateHost(std::size_t bytes) {
  Use();
  return AllocatePinned(bytes);
}

std::int64_t CudaBackend::FreeMemory() const {
  Use();
  std::size_t free = 0;
  std::size_t total = 0;
  CUDA_CHECK(cudaMemGetInfo(&free, &total));
  const auto bytes = static_cast<std::int64_t>(free);
  if (memory_bytes_ == 0) return bytes;
  return std::min(bytes, memory_bytes_ - static_cast<std::int64_t>(total - free));
}

void CudaBackend::CopyToDevice(void* device, const void* host, std::size_t bytes) {
  if (bytes == 0) return;
  if (CopiesByKernel(device, host, bytes)) {
    LaunchCopyWords(host, static_cast<std::int64_t>(bytes / 4), device, true, stream_->Get());
    return;
  }
  CUDA_CHECK(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream_->Get()));
}

void CudaBackend::CopyToHost(void* host, const void* device, std::size_t bytes) {
  if (bytes == 0) return;
  if (CopiesByKernel(device, host, bytes)) {
    LaunchCopyWords(device, static_cast<std::int64_t>(bytes / 4), host, false, stream_->Get());
    return;
  }
  CUDA_CHECK(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream_->Get()));
}

void CudaBackend::CopyOnDevice(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_->Get()));
}

void CudaBackend::Synchronize() { CUDA_CHECK(cudaStreamSynchronize(stream_->Get())); }

std::unique_ptr<Fence> CudaBackend::MakeFence() {
  Use();
  return kernels::MakeFence(*stream_);
}

std::unique_ptr<Stamp> CudaBackend::MakeStamp() {
  Use();
  return kernels::MakeStamp(*stream_);
}

std::unique_ptr<Replay> CudaBackend::Record(std::function<void()> ops) {
  Use();
  return kernels::Record(ops, *stream_);
}

std::unique_ptr<LinearWeight> CudaBackend::MakeLinear(std::span<const WeightSlice> parts,
                                                      std::span<const WeightSlice> bias,
                                                      LinearLayout layout) {
  Use();
  if (Int4Linear::Takes(parts, *linear_tools_)) {
    return Int4Linear::Make(parts, bias, layout, *linear_tools_, *stream_);
  }
  if (Fp8Linear::Takes(parts, *linear_tools_)) {
    return Fp8Linear::Make(parts, bias, layout, *linear_tools_);
  }
  if (UnitLinear::Takes(parts, layout, *linear_tools_)) {
    return UnitLinear::Make(parts, bias, layout, *linear_tools_, *stream_);
  }
  if (BlocksLinear::Takes(parts)) {
    return BlocksLinear::Make(parts, bias, layout, *linear_tools_, *stream_);
  }
  return Bf16Linear::Make(parts, bias, layout, *linear_tools_);
}

Buffer CudaBackend::MakeTable(const WeightSlice& slice) {
  Use();
  return linear_tools_->upload.Run(slice.rows, slice.cols,
                                   [&](std::int64_t row, std::uint16_t* to) {
                                     ConvertRow({&slice, row}, to);
                                   });
}

Buffer CudaBackend::MakeHostTable(const WeightSlice& slice) {
  Use();
  Buffer table = AllocatePinned(static_cast<std::size_t>(slice.rows * slice.cols) * 2);
  linear_tools_->upload.Fill(table.data(), slice.rows, slice.cols,
                             [&](std::int64_t row, std::uint16_t* to) {
                               ConvertRow({&slice, row}, to);
                             });
  return table;
}

std::unique_ptr<LatentHeads> CudaBackend::MakeLatentHeads(const WeightSlice& rows,
                                                          const LatentShape& shape) {
  Use();
  return std::make_unique<CudaLatentHeads>(rows, shape, linear_tools_->upload);
}

std::unique_ptr<ExpertWeights> CudaBackend::MakeExperts(const ExpertShape& shape) {
  Use();
  return std::make_unique<CudaExperts>(shape, linear_tools_->upload, stream_->Get());
}

void CudaBackend::PrepareAttention(int max_seqs, int num_kv_heads) {
  if (attention_.seqs >= max_seqs && attention_.kv_heads == num_kv_heads) return;
  const std::size_t bytes = AttentionWorkspaceBytes(max_seqs, num_kv_heads);
  void* const memory = attention_scratch_.AtLeast(bytes, *stream_);
  CUDA_CHECK(cudaMemsetAsync(memory, 0, bytes, stream_->Get()));
  attention_ = {.workspace = MakeAttentionWorkspace(memory, max_seqs, num_kv_heads),
                .seqs = max_seqs,
                .kv_heads = num_kv_heads};
}

void CudaBackend::Reserve(const StepExtent& extent) {
  Use();
  PrepareAttention(extent.max_seqs, extent.num_kv_heads);
  linear_tools_->Reserve(extent, *stream_);
  draw_scratch_.AtLeast(DrawWorkspaceBytes(), *stream_);
  Synchronize();
}

void CudaBackend::ReserveParts(const PartsExtent& extent) {
  Use();
  if (extent.latent_heads > 0) {
    latent_scratch_.AtLeast(static_cast<std::size_t>(LatentWorkspaceBytes(extent.latent_heads)),
                            *stream_);
  }
  if (extent.mix.per_token > 0) {
    expert_scratch_.AtLeast(static_cast<std::size_t>(extent.mix.device_bytes()), *stream_);
  }
  Synchronize();
}

void CudaBackend::Scatter(const Tensor& index, const Tensor& values, const Tensor& to) {
  LaunchScatter(index, values, to, stream_->Get());
}

void CudaBackend::GatherInputIds(const Tensor& given, const Tensor& source_slot,
                                 const Tensor& last_drawn, const Tensor& ids) {
  LaunchGatherInputIds(given, source_slot, last_drawn, ids, stream_->Get());
}

void CudaBackend::Embed(const Tensor& ids, const Tensor& table, const Tensor& out) {
  LaunchEmbed(ids, table, out, stream_->Get());
}

void CudaBackend::GatherRows(const Tensor& x, const Tensor& rows, const Tensor& out) {
  LaunchGatherRows(x, rows, out, stream_->Get());
}

void CudaBackend::RmsNorm(const Tensor& x, const Tensor& weight, float eps, const Tensor& out) {
  Norm({.residual = x, .weight = weight, .eps = eps, .out = out});
}

void CudaBackend::AddRmsNorm(const ResidualNorm& norm) { Norm(norm); }

void CudaBackend::Norm(const ResidualNorm& norm) {
  CheckResidualNorm(norm);
  stream_->Norm(norm, linear_tools_->CanNormOnTheWay(norm));
}

void CudaBackend::QkvRopeWriteKv(const Tensor& x, const LinearWeight& qkv, const Tensor& rope,
                                 const BatchView& batch, const KvLayer& kv, const Tensor& q) {
  CudaLinear::From(qkv).Run(x, QkvOutput{.rope = rope, .batch = batch, .kv = kv, .q = q}, *stream_);
}

void CudaBackend::Linear(const Tensor& x, const LinearWeight& weight, const Tensor& out) {
  CudaLinear::From(weight).Run(x, Bf16Output{out}, *stream_);
}

void CudaBackend::GateUpSwiGlu(const Tensor& x, const LinearWeight& gate_up, const Tensor& out) {
  CudaLinear::From(gate_up).Run(x, SwiGluOutput{out}, *stream_);
}

void CudaBackend::LmHead(const Tensor& x, const LinearWeight& weight, const Tensor& logits) {
  CudaLinear::From(weight).Run(x, F32Output{logits}, *stream_);
}

void CudaBackend::PagedAttention(const Tensor& q, const BatchView& batch, const KvLayer& kv,
                                 float scale, const Tensor& out) {
  PrepareAttention(batch.num_seqs, kv.num_kv_heads);
  LaunchPagedAttention(q, batch, kv, scale, out, attention_.workspace,
                       properties_.multiProcessorCount, stream_->Get());
}

void CudaBackend::WriteLatents(const LatentKeys& keys, const PairRotation& rotation,
                               const BatchView& batch, const KvLayer& kv) {
  LaunchWriteLatents(keys, rotation, batch, kv, stream_->Get());
}

void CudaBackend::AbsorbQueries(const Tensor& q, const LatentHeads& heads,
                                const PairRotation& rotation, const BatchView& batch,
                                const Tensor& out) {
  const CudaLatentHeads& of = CudaLatentHeads::From(heads);
  const LatentShape& shape = of.shape();
  Check(q.dtype == DType::kBf16 && q.dim(1) == shape.heads * shape.query() &&
            out.size() == q.dim(0) * shape.heads * shape.key(),
        "q is bf16 [T, H (P + R)], out is bf16 [T, H, C + R]");
  LaunchHeadProduct({.matrices = of.absorb(),
                     .count = shape.heads,
                     .x = q,
                     .x_stride = shape.query(),
                     .out = AsRows(out),
                     .out_stride = shape.key()},
                    stream_->Get());
  LaunchRotateQueries(q, shape, rotation, batch, out, stream_->Get());
}

void CudaBackend::AttendLatents(const Tensor& queries, const BatchView& batch, const KvLayer& kv,
                                float scale, const Tensor& out) {
  void* const workspace = latent_scratch_.AtLeast(
      static_cast<std::size_t>(LatentWorkspaceBytes(queries.dim(1))), *stream_);
  const LatentMeans means = {.workspace = workspace,
                             .num_sms = properties_.multiProcessorCount,
                             .has_wgmma = properties_.major == 9};
  LaunchAttendLatents(queries, batch, kv, scale, out, means, stream_->Get());
}

void CudaBackend::LatentValues(const Tensor& latents, const LatentHeads& heads,
                               std::int64_t first_head, const Tensor& out) {
  const CudaLatentHeads& of = CudaLatentHeads::From(heads);
  const LatentShape& shape = of.shape();
  const std::int64_t count = out.dim(1) / shape.result;
  Check(first_head + count <= shape.heads && out.dim(1) == count * shape.result,
        "out is bf16 [T, n U] of heads that there are");
  LaunchHeadProduct({.matrices = of.value(),
                     .first = first_head,
                     .count = count,
                     .x = AsRows(latents),
                     .x_stride = shape.latent,
                     .out = out,
                     .out_stride = shape.result},
                    stream_->Get());
}

// Nobody but the router's product would see the norm that it does on the way.
void CudaBackend::RouteExperts(const Tensor& x, const LinearWeight& gate, const Routing& routing,
                               const std::int32_t* token_seq, const ExpertChoice& choice) {
  stream_->Get();
  LmHead(x, gate, routing.logits);
  LaunchRouteExperts(routing, token_seq, choice, stream_->Get());
}

void CudaBackend::MixExperts(const Tensor& x, const ExpertMix& mix, const Tensor& out) {
  const ExpertShape& shape = mix.experts.shape();
  const std::int64_t tokens = x.dim(0);
  const MixExtent extent = {.max_tokens = tokens,
                            .per_token = mix.choice.ids.dim(1),
                            .hidden = shape.hidden,
                            .ffn = shape.ffn,
                            .experts = shape.count};
  void* const scratch =
      expert_scratch_.AtLeast(static_cast<std::size_t>(extent.device_bytes()), *stream_);
  for (std::int64_t first = 0; first < tokens; first += kMixTokens) {
    const std::int64_t count = std::min(kMixTokens, tokens - first);
    const ExpertMix piece = {.choice = {.ids = Rows(mix.choice.ids, first, count),
                                        .weights = Rows(mix.choice.weights, first, count)},
                             .experts = mix.experts,
                             .shared = Rows(mix.shared, first, count)};
    LaunchMixExperts(Rows(x, first, count), piece, Rows(out, first, count), scratch,
                     stream_->Get());
  }
}

void CudaBackend::Draw(const Tensor& logits, const DrawView& view, const Tensor& ids,
                       const Tensor& logprobs, const Tensor& not_finite, const Tensor& last_drawn) {
  void* const memory = draw_scratch_.AtLeast(DrawWorkspaceBytes(), *stream_);
  LaunchDraw(logits, view, ids, logprobs, not_finite, last_drawn,
             {.memory = memory, .num_sms = properties_.multiProcessorCount}, stream_->Get());
}

void CudaBackend::Logprobs(const Tensor& logits, const LogprobsView& view) {
  LaunchLogprobs(logits, view, stream_->Get());
}

void CudaBackend::AdjustLogits(const Tensor& logits, const DrawView& view, const AdjustView& adjust,
                               const Tensor& adjusted) {
  LaunchAdjustLogits(logits, view, adjust, adjusted, stream_->Get());
}

void CudaBackend::BeginCounts(const CountsBegin* begins, std::int32_t num_begins,
                              const std::int32_t* ids, const Tensor& counts) {
  LaunchBeginCounts(begins, num_begins, ids, counts, stream_->Get());
}

void CudaBackend::CountDraws(const DrawView& view, const Tensor& ids, const Tensor& counts) {
  LaunchCountDraws(view, ids, counts, stream_->Get());
}

}  // namespace thinkwire::worker::kernels

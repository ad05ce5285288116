#include "worker/kernels/cuda/cuda_backend.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "worker/kernels/check.h"
#include "worker/kernels/convert.h"
#include "worker/kernels/cuda/attention/kv_block.cuh"
#include "worker/kernels/cuda/device/cuda_check.h"
#include "worker/kernels/cuda/linear/row_order.h"
#include "worker/kernels/cuda/linear/small_linear.h"
#include "worker/kernels/cuda/sampling/adjust_logits.h"
#include "worker/kernels/cuda/sampling/draw.h"
#include "worker/kernels/cuda/token_ops.h"
#include "worker/kernels/stacked_rows.h"

namespace thinkwire::worker::kernels {
namespace {

void FreeDevice(void* data) { cudaFree(data); }
void FreeHost(void* data) { cudaFreeHost(data); }

class CudaFence final : public Fence {
 public:
  explicit CudaFence(OpStream& stream) : stream_(stream) {
    CUDA_CHECK(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming));
  }
  ~CudaFence() override { cudaEventDestroy(event_); }
  void Record() override { CUDA_CHECK(cudaEventRecord(event_, stream_.Get())); }
  void Wait() override { CUDA_CHECK(cudaEventSynchronize(event_)); }

 private:
  OpStream& stream_;
  cudaEvent_t event_ = nullptr;
};

class CudaStamp final : public Stamp {
 public:
  explicit CudaStamp(OpStream& stream) : stream_(stream) { CUDA_CHECK(cudaEventCreate(&event_)); }
  ~CudaStamp() override { cudaEventDestroy(event_); }
  void Record() override { CUDA_CHECK(cudaEventRecord(event_, stream_.Get())); }
  double SecondsSince(const Stamp& earlier) const override {
    float milliseconds = 0;
    CUDA_CHECK(
        cudaEventElapsedTime(&milliseconds, static_cast<const CudaStamp&>(earlier).event_, event_));
    return milliseconds * 1e-3;
  }

 private:
  OpStream& stream_;
  cudaEvent_t event_ = nullptr;
};

class CudaReplay final : public Replay {
 public:
  CudaReplay(cudaGraph_t graph, OpStream& stream) : stream_(stream) {
    CUDA_CHECK(cudaGraphInstantiate(&executable_, graph, 0));
    CUDA_CHECK(cudaGraphUpload(executable_, stream_.Get()));
  }
  ~CudaReplay() override { cudaGraphExecDestroy(executable_); }
  void Run() override { CUDA_CHECK(cudaGraphLaunch(executable_, stream_.Get())); }

 private:
  OpStream& stream_;
  cudaGraphExec_t executable_ = nullptr;
};

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

}  // namespace

// Row-major bf16 [out, in]; rows of a kQkv and a kGateUp weight in the order that row_order.h
// gives.
class CudaBackend::LinearMatrix final : public LinearWeight {
 public:
  LinearMatrix(LinearLayout layout, std::int64_t out, std::int64_t in, Buffer matrix, Buffer bias)
      : layout(layout), out(out), in(in), matrix(std::move(matrix)), bias(std::move(bias)) {}

  DeviceKind device() const override { return DeviceKind::kCuda; }
  std::int64_t out_features() const override { return out; }
  std::int64_t in_features() const override { return in; }
  std::size_t bytes() const override { return matrix.bytes() + bias.bytes(); }

  const LinearLayout layout;
  const std::int64_t out;
  const std::int64_t in;
  const Buffer matrix;
  const Buffer bias;  // bf16 [out] or none
};

CudaBackend::CudaBackend(int device) : device_(device) {
  Use();
  CUDA_CHECK(cudaGetDeviceProperties(&properties_, device_));
  stream_ = std::make_unique<OpStream>();
  has_small_linear_ = properties_.major == 9;
  large_linear_ = std::make_unique<LargeLinear>(stream_->Get());
  upload_ = std::make_unique<WeightUpload>(stream_->Get());
  capabilities_ = Describe();
}

CudaBackend::~CudaBackend() { stream_->Finish(); }

void CudaBackend::Use() const { CUDA_CHECK(cudaSetDevice(device_)); }

Capabilities CudaBackend::Describe() {
  return {.name = "cuda-sm" + std::to_string(properties_.major) +
                  std::to_string(properties_.minor) + (IsExact() ? " " : "-inexact ") +
                  properties_.name,
          .kind = DeviceKind::kCuda,
          .activation = DType::kBf16,
          .only_head_dim = kHeadDim,
          .gains_by_recording = true};
}

Buffer CudaBackend::Allocate(std::size_t bytes) {
  if (bytes == 0) return {};
  Use();
  void* data = nullptr;
  CUDA_CHECK(cudaMalloc(&data, bytes));
  CUDA_CHECK(cudaMemsetAsync(data, 0, bytes, stream_->Get()));
  return Buffer(data, bytes, &FreeDevice);
}

Buffer CudaBackend::AllocateHost(std::size_t bytes) {
  if (bytes == 0) return {};
  Use();
  void* data = nullptr;
  CUDA_CHECK(cudaMallocHost(&data, bytes));
  std::memset(data, 0, bytes);
  return Buffer(data, bytes, &FreeHost);
}

std::int64_t CudaBackend::FreeMemory() const {
  Use();
  std::size_t free = 0;
  std::size_t total = 0;
  CUDA_CHECK(cudaMemGetInfo(&free, &total));
  return static_cast<std::int64_t>(free);
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
  return std::make_unique<CudaFence>(*stream_);
}

std::unique_ptr<Stamp> CudaBackend::MakeStamp() {
  Use();
  return std::make_unique<CudaStamp>(*stream_);
}

std::unique_ptr<Replay> CudaBackend::Record(std::function<void()> ops) {
  Use();
  CUDA_CHECK(cudaStreamBeginCapture(stream_->Get(), cudaStreamCaptureModeThreadLocal));
  ops();
  cudaGraph_t graph = nullptr;
  CUDA_CHECK(cudaStreamEndCapture(stream_->Get(), &graph));
  auto replay = std::make_unique<CudaReplay>(graph, *stream_);
  CUDA_CHECK(cudaGraphDestroy(graph));
  return replay;
}

std::unique_ptr<LinearWeight> CudaBackend::MakeLinear(std::span<const WeightSlice> parts,
                                                      std::span<const WeightSlice> bias,
                                                      LinearLayout layout) {
  const LinearShape shape = CheckedLinearShape(parts, bias, layout);
  const std::int64_t out = shape.out;
  const std::int64_t in = shape.in;
  Check(in % 8 == 0, "a linear's columns come in eights");
  Check(layout != LinearLayout::kGateUp || parts[0].rows % kHalfTile == 0,
        "a gate-up weight's rows come in eights");
  const auto source_row = [&](std::int64_t row) {
    if (layout == LinearLayout::kGateUp) return GateUpRow(row, out);
    return layout == LinearLayout::kQkv ? QkvRow(row, kHeadDim) : row;
  };
  Buffer matrix = Allocate(static_cast<std::size_t>(out * in) * 2);
  upload_->Run(
      out, in,
      [&](std::int64_t first, std::int64_t count, std::uint16_t* to) {
        for (std::int64_t row = first; row < first + count; ++row, to += in) {
          ConvertRow(FindRow(parts, source_row(row)), to);
        }
      },
      matrix.data());
  Buffer bias_buffer;
  if (!bias.empty()) {
    bias_buffer = Allocate(static_cast<std::size_t>(out) * 2);
    upload_->Run(
        out, 1,
        [&](std::int64_t first, std::int64_t count, std::uint16_t* to) {
          for (std::int64_t row = first; row < first + count; ++row) {
            *to++ = Bf16FromF32(ElementOf(FindRow(bias, source_row(row)), 0));
          }
        },
        bias_buffer.data());
  }
  return std::make_unique<LinearMatrix>(layout, out, in, std::move(matrix), std::move(bias_buffer));
}

Buffer CudaBackend::MakeTable(const WeightSlice& slice) {
  Buffer table = Allocate(static_cast<std::size_t>(slice.rows * slice.cols) * 2);
  upload_->Run(
      slice.rows, slice.cols,
      [&](std::int64_t first, std::int64_t count, std::uint16_t* to) {
        for (std::int64_t row = first; row < first + count; ++row, to += slice.cols) {
          ConvertRow({&slice, row}, to);
        }
      },
      table.data());
  return table;
}

void* CudaBackend::Scratch(std::size_t bytes, Buffer& scratch) {
  if (scratch.bytes() < bytes) {
    cudaStreamCaptureStatus capturing = cudaStreamCaptureStatusNone;
    CUDA_CHECK(cudaStreamIsCapturing(stream_->Get(), &capturing));
    Check(capturing == cudaStreamCaptureStatusNone, "the largest shapes come before a recording");
    Synchronize();
    scratch = {};
    scratch = Allocate(bytes);
  }
  return scratch.data();
}

void CudaBackend::PrepareAttention(int max_seqs, int num_kv_heads) {
  if (attention_.seqs >= max_seqs && attention_.kv_heads == num_kv_heads) return;
  const std::size_t bytes = AttentionWorkspaceBytes(max_seqs, num_kv_heads);
  void* const memory = Scratch(bytes, attention_scratch_);
  CUDA_CHECK(cudaMemsetAsync(memory, 0, bytes, stream_->Get()));
  attention_ = {.workspace = MakeAttentionWorkspace(memory, max_seqs, num_kv_heads),
                .seqs = max_seqs,
                .kv_heads = num_kv_heads};
}

void CudaBackend::Reserve(const StepExtent& extent) {
  PrepareAttention(extent.max_seqs, extent.num_kv_heads);
  // QKV sums in f32, or gates and ups in bf16.
  const std::int64_t token_bytes = std::max(4 * extent.qkv_rows, 4 * extent.ffn);
  Scratch(static_cast<std::size_t>(extent.max_tokens * token_bytes), product_scratch_);
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
  stream_->Norm(norm, has_small_linear_ && CanNorm(norm));
}

SmallLinear CudaBackend::Small(const Tensor& x, const LinearMatrix& weight,
                               const std::optional<ResidualNorm>& norm) const {
  return {.weights = weight.matrix.data(),
          .rows = weight.out,
          .columns = weight.in,
          .x = x.data,
          .tokens = static_cast<int>(x.dim(0)),
          .num_sms = properties_.multiProcessorCount,
          .norm = norm.has_value() ? &*norm : nullptr};
}

bool CudaBackend::IsSmall(const Tensor& x, const LinearMatrix& weight) const {
  Check(x.rank == 2 && x.dtype == DType::kBf16 && x.dim(1) == weight.in, "x is bf16 [T, in]");
  return has_small_linear_ && x.dim(0) <= kSmallLinearTokens;
}

void CudaBackend::Multiply(const Tensor& x, const LinearMatrix& weight, const Tensor& out) {
  Check(out.size() == x.dim(0) * weight.out, "the output is [T, out]");
  const bool f32 = out.dtype == DType::kF32;
  // cuBLASLt adds outputs that are not whole 16 bytes up in another order: those go by pieces.
  if (!IsSmall(x, weight) && has_small_linear_ && weight.out % 8 != 0) {
    for (std::int64_t first = 0; first < x.dim(0); first += kSmallLinearTokens) {
      const std::int64_t tokens = std::min<std::int64_t>(kSmallLinearTokens, x.dim(0) - first);
      const auto rows = [&](const Tensor& t) {
        auto* const at = static_cast<std::byte*>(t.data) +
                         static_cast<std::size_t>(first * t.dim(1)) * SizeOf(t.dtype);
        return MakeTensor(at, t.dtype, tokens, t.dim(1));
      };
      Multiply(rows(x), weight, rows(out));
    }
  } else if (!IsSmall(x, weight)) {
    stream_->Get();  // large_linear_ has the bare one
    large_linear_->Run(weight.matrix.data(), weight.out, weight.in, x.data, x.dim(0), f32,
                       out.data);
  } else if (f32) {
    const std::optional<ResidualNorm> norm = stream_->Take(x, out);
    LaunchSmallLinear(Small(x, weight, norm), out.as<float>(), stream_->Get());
  } else {
    LaunchSmallLinearBf16(Small(x, weight, {}), out.data, stream_->Get());
  }
}

void CudaBackend::QkvRopeWriteKv(const Tensor& x, const LinearWeight& qkv, const Tensor& rope,
                                 const BatchView& batch, const KvLayer& kv, const Tensor& q) {
  const auto& weight = static_cast<const LinearMatrix&>(qkv);
  Check(weight.layout == LinearLayout::kQkv, "a QKV weight");
  if (IsSmall(x, weight)) {
    const std::optional<ResidualNorm> norm = stream_->Take(x, q);
    LaunchSmallLinearQkv(Small(x, weight, norm), weight.bias.data(), rope, batch, kv, q,
                         stream_->Get());
    return;
  }
  const std::int64_t tokens = x.dim(0);
  void* const memory =
      Scratch(static_cast<std::size_t>(tokens * weight.out) * sizeof(float), product_scratch_);
  const Tensor sums = MakeTensor(memory, DType::kF32, tokens, weight.out);
  Multiply(x, weight, sums);
  LaunchRopeWriteKv(sums, weight.bias.data(), rope, batch, kv, q, stream_->Get());
}

void CudaBackend::PagedAttention(const Tensor& q, const BatchView& batch, const KvLayer& kv,
                                 float scale, const Tensor& out) {
  PrepareAttention(batch.num_seqs, kv.num_kv_heads);
  LaunchPagedAttention(q, batch, kv, scale, out, attention_.workspace,
                       properties_.multiProcessorCount, stream_->Get());
}

void CudaBackend::Draw(const Tensor& logits, const DrawView& view, const Tensor& ids,
                       const Tensor& logprobs, const Tensor& not_finite, const Tensor& last_drawn) {
  LaunchDraw(logits, view, ids, logprobs, not_finite, last_drawn, stream_->Get());
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

void CudaBackend::Linear(const Tensor& x, const LinearWeight& weight, const Tensor& out) {
  const auto& matrix = static_cast<const LinearMatrix&>(weight);
  Check(matrix.layout == LinearLayout::kPlain && out.dtype == DType::kBf16, "out is bf16 [T, out]");
  Multiply(x, matrix, out);
}

void CudaBackend::GateUpSwiGlu(const Tensor& x, const LinearWeight& gate_up, const Tensor& out) {
  const auto& weight = static_cast<const LinearMatrix&>(gate_up);
  const std::int64_t tokens = x.dim(0);
  Check(weight.layout == LinearLayout::kGateUp && out.dtype == DType::kBf16 &&
            out.size() * 2 == tokens * weight.out,
        "out is bf16 [T, F] of a gate-up weight");
  if (IsSmall(x, weight)) {
    const std::optional<ResidualNorm> norm = stream_->Take(x, out);
    LaunchSmallLinearSwiGlu(Small(x, weight, norm), out.data, stream_->Get());
    return;
  }
  void* const memory = Scratch(static_cast<std::size_t>(tokens * weight.out) * 2, product_scratch_);
  const Tensor sums = MakeTensor(memory, DType::kBf16, tokens, weight.out);
  Multiply(x, weight, sums);
  LaunchSwiGlu(sums, out, stream_->Get());
}

void CudaBackend::LmHead(const Tensor& x, const LinearWeight& weight, const Tensor& logits) {
  Check(logits.dtype == DType::kF32, "logits are f32 [L, V]");
  Multiply(x, static_cast<const LinearMatrix&>(weight), logits);
}

// One small product, by both kernels, of a token among many and among few.
bool CudaBackend::IsExact() {
  if (!has_small_linear_) return false;
  constexpr std::int64_t kRows = 192;
  constexpr std::int64_t kColumns = 1096;
  constexpr std::int64_t kTokens = 160;
  std::uint32_t state = 1;
  const auto noise = [&state](std::int64_t n) {
    std::vector<std::uint16_t> values(static_cast<std::size_t>(n));
    for (std::uint16_t& value : values) {
      state = state * 1664525U + 1013904223U;
      value = Bf16FromF32(static_cast<float>(static_cast<std::int32_t>(state)) * 0x1p-31F);
    }
    return values;
  };
  const auto weight_values = noise(kRows * kColumns);
  const auto x_values = noise(kTokens * kColumns);
  const WeightSlice part = {.data = weight_values.data(),
                            .encoding = Encoding::kBf16,
                            .rows = kRows,
                            .cols = kColumns,
                            .row_stride = kColumns};
  const auto weight = MakeLinear({&part, 1}, {}, LinearLayout::kPlain);
  const Buffer x = MakeTable({.data = x_values.data(),
                              .encoding = Encoding::kBf16,
                              .rows = kTokens,
                              .cols = kColumns,
                              .row_stride = kColumns});
  const auto product = [&](std::int64_t tokens) {
    const Buffer out = Allocate(static_cast<std::size_t>(kTokens * kRows) * sizeof(float));
    Multiply(MakeTensor(x.data(), DType::kBf16, tokens, kColumns),
             static_cast<const LinearMatrix&>(*weight),
             MakeTensor(out.data(), DType::kF32, tokens, kRows));
    std::vector<float> values(static_cast<std::size_t>(tokens * kRows));
    CopyToHost(values.data(), out.data(), values.size() * sizeof(float));
    Synchronize();
    return values;
  };
  const std::vector<float> many = product(kTokens);
  for (const std::int64_t tokens : {1, 8, 16, 32, 64, 96}) {
    const std::vector<float> few = product(tokens);
    if (std::memcmp(few.data(), many.data(), few.size() * sizeof(float)) != 0) return false;
  }
  return true;
}

}  // namespace thinkwire::worker::kernels

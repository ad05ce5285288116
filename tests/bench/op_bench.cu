// What attention and the draw of a step take on this GPU, without the products around them:
//   op_bench
// Decode of sequences of one length, and prompts' tokens (so many up to a context), with the heads
// of a distill, over a KV cache that the L2 cache does not hold, in bf16 and in FP8; GB/s counts
// keys and values once, TFLOP/s what is causal. Draws of random logits (their standard deviation 1)
// at 0.6 / 0.95. As recorded_chain.h times it, 28 launches a replay.
#include <cuda_bf16.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "tests/bench/recorded_chain.h"
#include "worker/kernels/cuda/attention/paged_attention.h"
#include "worker/kernels/cuda/device/cuda_check.h"
#include "worker/kernels/cuda/sampling/draw.h"
#include "worker/kernels/draw.h"
#include "worker/kernels/tensor.h"
#include "worker/step/sampling.h"

namespace thinkwire::worker::kernels {
namespace {

constexpr int kLayers = 28;
constexpr int kBlockTokens = 16;
constexpr int kHeadSize = 128;

__device__ float Uniform(unsigned i, unsigned seed) {  // (0, 1)
  unsigned state = i * 2654435761U ^ seed;
  state = (state ^ state >> 13) * 0x5BD1E995U;
  state ^= state >> 15;
  return (static_cast<float>(state >> 8) + 0.5F) / 16777216.0F;
}

__global__ void FillBf16(__nv_bfloat16* to, std::size_t count) {
  const std::size_t step = static_cast<std::size_t>(gridDim.x) * blockDim.x;
  for (std::size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
    to[i] = __float2bfloat16_rn(Uniform(static_cast<unsigned>(i), 7) - 0.5F);
  }
}

// Normal, by Box and Muller.
__global__ void FillLogits(float* to, std::size_t count) {
  const std::size_t step = static_cast<std::size_t>(gridDim.x) * blockDim.x;
  for (std::size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
    const auto at = static_cast<unsigned>(i);
    to[i] = sqrtf(-2.0F * logf(Uniform(at, 1))) * cospif(2.0F * Uniform(at, 2));
  }
}

// Zeroed memory of the device, until the process ends.
void* Allocate(std::size_t bytes) {
  void* data = nullptr;
  CUDA_CHECK(cudaMalloc(&data, bytes));
  CUDA_CHECK(cudaMemset(data, 0, bytes));
  return data;
}

template <class T>
T* Upload(const std::vector<T>& values) {
  void* const data = Allocate(values.size() * sizeof(T));
  CUDA_CHECK(cudaMemcpy(data, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
  return static_cast<T*>(data);
}

std::vector<std::int32_t> Counted(int count, int first = 0) {
  std::vector<std::int32_t> values;
  for (int i = 0; i < count; ++i) values.push_back(first + i);
  return values;
}

struct Heads {
  const char* model;
  int heads;
  int kv_heads;
  DType kv = DType::kBf16;

  const char* kv_name() const { return kv == DType::kBf16 ? "bf16" : "fp8"; }
};

int NumSms() {
  int num_sms = 0;
  CUDA_CHECK(cudaDeviceGetAttribute(&num_sms, cudaDevAttrMultiProcessorCount, 0));
  return num_sms;
}

// `seqs` sequences that each compute `count` tokens, the last one at `context - 1`. Us a launch.
double TimeAttention(bench::RecordedChain& chain, const Heads& of, int seqs, int context,
                     int count) {
  const int max_blocks = (context + kBlockTokens - 1) / kBlockTokens;
  const std::int64_t row = std::int64_t{of.kv_heads} * kHeadSize;
  const std::int64_t plane = std::int64_t{seqs} * max_blocks * kBlockTokens * row;  // elements
  // Layers in turn: enough of them that what is read again is long out of the L2 cache.
  const auto layers =
      static_cast<int>(std::clamp<std::int64_t>((256 << 20) / (2 * plane), 1, kLayers - 1) + 1);
  auto* const planes =
      static_cast<__nv_bfloat16*>(Allocate(static_cast<std::size_t>(4 * plane * layers)));
  const std::size_t plane_bytes = static_cast<std::size_t>(plane) * SizeOf(of.kv);
  FillBf16<<<1024, 256>>>(planes, static_cast<std::size_t>(2 * plane * layers));
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> token_seq;
  std::vector<std::int32_t> query_start = {0};
  for (int s = 0; s < seqs; ++s) {
    for (int i = count; i > 0; --i) positions.push_back(context - i);
    token_seq.insert(token_seq.end(), static_cast<std::size_t>(count), s);
    query_start.push_back((s + 1) * count);
  }
  const int tokens = seqs * count;
  const BatchView batch = {.num_tokens = tokens,
                           .num_seqs = seqs,
                           .max_blocks = max_blocks,
                           .positions = Upload(positions),
                           .token_seq = Upload(token_seq),
                           .query_start = Upload(query_start),
                           .seq_slot = Upload(Counted(seqs)),
                           .block_tables = Upload(Counted(seqs * max_blocks))};
  const std::int64_t q_row = std::int64_t{of.heads} * kHeadSize;
  auto* const q =
      static_cast<__nv_bfloat16*>(Allocate(static_cast<std::size_t>(4 * tokens * q_row)));
  FillBf16<<<64, 256>>>(q, static_cast<std::size_t>(tokens * q_row));
  const Tensor in = MakeTensor(q, DType::kBf16, tokens, q_row);
  const Tensor out = MakeTensor(q + tokens * q_row, DType::kBf16, tokens, q_row);
  const AttentionWorkspace workspace = MakeAttentionWorkspace(
      Allocate(AttentionWorkspaceBytes(seqs, of.kv_heads)), seqs, of.kv_heads);
  CUDA_CHECK(cudaDeviceSynchronize());
  const auto launch = [&](std::size_t i) {
    auto* const keys = reinterpret_cast<std::byte*>(planes) +
                       i % static_cast<std::size_t>(layers) * 2 * plane_bytes;
    const std::int64_t blocks = plane / row / kBlockTokens;
    const KvLayer kv = {
        .planes = {MakeTensor(keys, of.kv, blocks, kBlockTokens * row),
                   MakeTensor(keys + plane_bytes, of.kv, blocks, kBlockTokens * row)},
        .num_kv_heads = of.kv_heads,
        .block_tokens = kBlockTokens,
        .head_dim = kHeadSize};
    LaunchPagedAttention(in, batch, kv, 0.088F, out, workspace, NumSms(), chain.stream());
  };
  const double us = chain.Microseconds(kLayers, launch);
  CUDA_CHECK(cudaFree(planes));
  CUDA_CHECK(cudaFree(q));
  return us;
}

void TimeDecode(bench::RecordedChain& chain, const Heads& of, int seqs, int context) {
  const double us = TimeAttention(chain, of, seqs, context, 1);
  const double elements = 2.0 * seqs * context * of.kv_heads * kHeadSize;
  std::printf("%-10s %-4s decode %4d x %6d  %8.1f us  %6.0f GB/s\n", of.model, of.kv_name(), seqs,
              context, us, 1e-3 * elements * static_cast<double>(SizeOf(of.kv)) / us);
}

void TimePrefill(bench::RecordedChain& chain, const Heads& of, int seqs, int context, int count) {
  const double us = TimeAttention(chain, of, seqs, context, count);
  const double keys = context - 0.5 * (count - 1);  // of a token, on average
  std::printf("%-10s %-4s prefill %3d x %6d of %6d  %8.1f us  %6.0f TFLOP/s\n", of.model,
              of.kv_name(), seqs, count, context, us,
              4e-6 * kHeadSize * of.heads * seqs * count * keys / us);
}

void TimeDraw(bench::RecordedChain& chain, int rows, int vocab) {
  const auto size = static_cast<std::size_t>(rows) * static_cast<std::size_t>(vocab);
  auto* const logits = static_cast<float*>(Allocate(size * sizeof(float)));
  FillLogits<<<1024, 256>>>(logits, size);
  const auto words = [&] { return Allocate(static_cast<std::size_t>(rows) * 4); };
  const DrawView view = {
      .num_rows = rows,
      .slots = Upload(Counted(rows)),
      .positions = Upload(Counted(rows, 600)),
      .input_ids = static_cast<std::int32_t*>(words()),
      .phases = static_cast<step::Phase*>(words()),
      .slot_sampling = Upload(std::vector<step::SamplingParams>(static_cast<std::size_t>(rows))),
      .vocab_size = vocab};
  const Tensor ids = MakeTensor(words(), DType::kI32, rows);
  const Tensor logprobs = MakeTensor(words(), DType::kF32, rows);
  const Tensor not_finite = MakeTensor(words(), DType::kI32, rows);
  const Tensor last_drawn = MakeTensor(words(), DType::kI32, rows);
  void* const memory = Allocate(DrawWorkspaceBytes());
  CUDA_CHECK(cudaDeviceSynchronize());
  const double us = chain.Microseconds(kLayers, [&](std::size_t) {
    LaunchDraw(MakeTensor(logits, DType::kF32, rows, vocab), view, ids, logprobs, not_finite,
               last_drawn, {.memory = memory, .num_sms = 132}, chain.stream());
  });
  std::printf("draw of %3d x %d  %8.1f us\n", rows, vocab, us);
  CUDA_CHECK(cudaFree(logits));
}

void Main() {
  bench::RecordedChain chain;
  constexpr Heads kModels[] = {{"qwen-7b", 28, 4}, {"llama-8b", 32, 8}, {"qwen-1.5b", 12, 2}};
  constexpr int kDecodes[][2] = {{1, 600},   {1, 2048},  {1, 8192},  {1, 32768},
                                 {8, 600},   {16, 600},  {32, 600},  {64, 600},
                                 {128, 600}, {256, 600}, {256, 100}, {32, 8192}};
  constexpr int kPrefills[][3] = {{1, 4096, 4096}, {1, 32768, 4096}, {8, 512, 512},
                                  {1, 512, 512},   {1, 4160, 64},    {1, 32768, 64}};
  for (const Heads& model : kModels) {
    for (const DType kv : {DType::kBf16, DType::kE4m3}) {
      const Heads heads = {model.model, model.heads, model.kv_heads, kv};
      for (const auto& [seqs, context] : kDecodes) TimeDecode(chain, heads, seqs, context);
      for (const auto& [seqs, context, count] : kPrefills) {
        TimePrefill(chain, heads, seqs, context, count);
      }
    }
  }
  for (const int rows : {1, 2, 4, 8, 16, 64, 128, 256}) TimeDraw(chain, rows, 152064);
}

}  // namespace
}  // namespace thinkwire::worker::kernels

int main() { thinkwire::worker::kernels::Main(); }

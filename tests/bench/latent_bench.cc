// What the absorbed form of latent attention costs a prompt on the CPU, beside the plain form that
// it is equal to, in DeepSeek-R1's widths:
//   latent_bench [threads] [heads] [repetitions]
// Both go through the same loop over tiles (segmented_attention.h). The absorbed form attends to
// keys of 576, which all heads share; the plain one to keys and values of each head, which it has
// to make of the latents first, of 192 and 128 (the loop reads values as wide as keys). The two
// alternate, so that a busy machine slows both alike; medians of the processor's time are printed.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <utility>
#include <vector>

#include "worker/kernels/cpu/cpu_backend.h"
#include "worker/kernels/cpu/segmented_attention.h"
#include "worker/kernels/latent_attention.h"

namespace thinkwire::worker::kernels {
namespace {

constexpr std::int64_t kLatent = 512;
constexpr std::int64_t kRotated = 64;
constexpr std::int64_t kKey = kLatent + kRotated;
constexpr std::int64_t kPlainKey = 192;
constexpr std::int64_t kPlainValue = 128;
constexpr std::int32_t kBlockTokens = 16;
constexpr std::int32_t kChunk = 256;  // tokens of a step
constexpr std::int32_t kContexts[] = {1024, 2048, 4096};
constexpr float kScale = 0.1F;

std::vector<float> Noise(std::int64_t n) {
  std::vector<float> values(static_cast<std::size_t>(n));
  std::uint32_t state = 1;
  for (float& value : values) {
    state = state * 1664525U + 1013904223U;
    value = static_cast<float>(static_cast<std::int32_t>(state)) * 0x1p-31F;
  }
  return values;
}

// The last kChunk tokens of a sequence of `length`.
class Chunk {
 public:
  explicit Chunk(std::int32_t length) : token_seq_(kChunk), query_start_{0, kChunk}, slots_{0} {
    for (std::int32_t i = 0; i < kChunk; ++i) positions_.push_back(length - kChunk + i);
    for (std::int32_t i = 0; i < length / kBlockTokens; ++i) blocks_.push_back(i);
  }

  BatchView view() const {
    return {.num_tokens = kChunk,
            .num_seqs = 1,
            .max_blocks = static_cast<std::int32_t>(blocks_.size()),
            .positions = positions_.data(),
            .token_seq = token_seq_.data(),
            .query_start = query_start_.data(),
            .seq_slot = slots_.data(),
            .block_tables = blocks_.data()};
  }

 private:
  std::vector<std::int32_t> positions_;
  std::vector<std::int32_t> token_seq_;
  std::vector<std::int32_t> query_start_;
  std::vector<std::int32_t> slots_;
  std::vector<std::int32_t> blocks_;
};

// Keys and values of every head: a key [K, positions, 192] beside its value, which has 64 more
// columns that nobody asked for.
class PlainLayout final : public AttentionLayout {
 public:
  PlainLayout(std::int64_t heads, std::int64_t positions)
      : heads_(heads),
        positions_(positions),
        keys_(Noise(heads * positions * kPlainKey)),
        values_(Noise(heads * positions * kPlainKey)),
        queries_(Noise(heads * kChunk * kPlainKey)),
        results_(static_cast<std::size_t>(heads * kChunk * kPlainValue)) {}

  std::int64_t num_heads() const override { return heads_; }
  std::int64_t num_kv_heads() const override { return heads_; }
  std::int64_t dim() const override { return kPlainKey; }
  std::int64_t result_dim() const override { return kPlainValue; }

  void CopyQuery(std::int64_t token, std::int64_t head, float* to) const override {
    std::copy_n(&queries_[static_cast<std::size_t>((head * kChunk + token) * kPlainKey)], kPlainKey,
                to);
  }
  float* Result(std::int64_t token, std::int64_t head) const override {
    return &results_[static_cast<std::size_t>((head * kChunk + token) * kPlainValue)];
  }
  void PointAtKeys(const std::int32_t* /*blocks*/, std::int64_t kv_head, std::int64_t first,
                   std::int64_t count, float* staged, AttentionTile* tile) const override {
    tile->key_stride = kTileKeys;
    for (std::int64_t j = 0; j < count; ++j) {
      const auto at = static_cast<std::size_t>((kv_head * positions_ + first + j) * kPlainKey);
      tile->values[j] = &values_[at];
      tile->keys[j / kKeyGroup] = staged + j / kKeyGroup * kKeyGroup;
      for (std::int64_t d = 0; d < kPlainKey; ++d) {
        staged[d * kTileKeys + j] = keys_[at + static_cast<std::size_t>(d)];
      }
    }
  }

 private:
  const std::int64_t heads_;
  const std::int64_t positions_;
  const std::vector<float> keys_;
  const std::vector<float> values_;
  const std::vector<float> queries_;
  mutable std::vector<float> results_;
};

class Absorbed {
 public:
  Absorbed(std::int64_t heads, std::int64_t positions)
      : heads_(heads),
        plane_(Noise(positions * kKey)),
        latent_(Noise(heads * kChunk * kLatent)),
        rotated_(Noise(heads * kChunk * kRotated)),
        out_(latent_.size()) {}

  void Run(const BatchView& batch, CpuBackend& backend) {
    const std::int64_t blocks = std::ssize(plane_) / (kBlockTokens * kKey);
    const KvLayer kv = {
        .planes = {MakeTensor(plane_.data(), DType::kF32, blocks, kBlockTokens * kKey)},
        .num_kv_heads = 1,
        .block_tokens = kBlockTokens,
        .head_dim = kKey};
    AttendLatents({MakeTensor(latent_.data(), DType::kF32, heads_, kChunk, kLatent),
                   MakeTensor(rotated_.data(), DType::kF32, heads_, kChunk, kRotated)},
                  batch, kv, kScale, MakeTensor(out_.data(), DType::kF32, heads_, kChunk, kLatent),
                  backend);
  }

 private:
  const std::int64_t heads_;
  std::vector<float> plane_;
  std::vector<float> latent_;
  std::vector<float> rotated_;
  std::vector<float> out_;
};

// Microseconds of processor, over all threads, for a token of the chunk and a head.
double Microseconds(std::int64_t heads, const std::function<void()>& body) {
  const std::clock_t start = std::clock();
  body();
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  return seconds * 1e6 / static_cast<double>(kChunk * heads);
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void Measure(std::int32_t context, std::int64_t heads, int repetitions, CpuBackend& backend) {
  const Chunk chunk(context);
  const PlainLayout plain_layout(heads, context);
  Absorbed absorbed_form(heads, context);
  std::vector<float> memory;
  std::vector<double> plain;
  std::vector<double> absorbed;
  for (int i = 0; i < repetitions; ++i) {
    plain.push_back(Microseconds(heads, [&] {
      RunAttention(RowKernelsFor(BestIsa()), backend.pool(), chunk.view(), plain_layout, kScale,
                   memory);
    }));
    absorbed.push_back(Microseconds(heads, [&] { absorbed_form.Run(chunk.view(), backend); }));
  }
  std::printf("%5d positions: plain %8.1f us a token and head, absorbed %8.1f: %.2f times\n",
              context, Median(plain), Median(absorbed), Median(absorbed) / Median(plain));
}

int Main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  const std::int64_t heads = argc > 2 ? std::atoi(argv[2]) : 16;
  const int repetitions = argc > 3 ? std::atoi(argv[3]) : 5;
  if (threads < 1 || heads < 1 || repetitions < 1) {
    std::fprintf(stderr, "usage: latent_bench [threads] [heads] [repetitions]\n");
    return 2;
  }
  CpuBackend backend(threads);
  for (const std::int32_t context : kContexts) Measure(context, heads, repetitions, backend);
  return 0;
}

}  // namespace
}  // namespace thinkwire::worker::kernels

int main(int argc, char** argv) { return thinkwire::worker::kernels::Main(argc, argv); }

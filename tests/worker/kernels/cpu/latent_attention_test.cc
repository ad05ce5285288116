#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "worker/kernels/cpu/cpu_backend.h"

namespace thinkwire::worker::kernels {
namespace {

using Floats = std::vector<float>;

constexpr std::int64_t kHeads = 5;
constexpr std::int64_t kLatent = 40;
constexpr std::int64_t kRotated = 6;
constexpr std::int64_t kKey = kLatent + kRotated;
constexpr std::int32_t kPositions = 1200;  // over two borders of segments
constexpr float kScale = 0.3F;
constexpr float kEps = 1e-6F;

Floats Random(std::int64_t n, unsigned seed) {
  std::mt19937 bits(seed);
  Floats values(static_cast<std::size_t>(n));
  for (float& value : values) value = static_cast<float>(bits() >> 8) * 0x1p-23F - 1.0F;
  return values;
}

Tensor Matrix(Floats& values, std::int64_t cols) {
  return MakeTensor(values.data(), DType::kF32, std::ssize(values) / cols, cols);
}

// A sequence of kPositions tokens, whose keys are written at once.
class Sequence {
 public:
  Sequence(std::int32_t block_tokens, int threads)
      : backend_(threads),
        block_tokens_(block_tokens),
        plane_(static_cast<std::size_t>(NumBlocks() * block_tokens * kKey), 1e30F) {
    for (std::int32_t i = 0; i < NumBlocks(); ++i) blocks_.push_back(NumBlocks() - 1 - i);
    Floats keys = keys_;
    std::vector<std::uint16_t> ones(kLatent, 0x3F80);  // 1 in bf16
    backend_.WriteLatents({.rows = Matrix(keys, kKey),
                           .norm = MakeTensor(ones.data(), DType::kBf16, kLatent),
                           .eps = kEps},
                          {Matrix(rope_, kRotated), true}, View(0, kPositions), Layer());
    for (std::int64_t t = 0; t < kPositions; ++t)
      NormLatent(&keys_[static_cast<std::size_t>(t * kKey)]);
  }

  // Of `count` tokens from `first` on, [count, H, C].
  Floats Attend(std::int32_t first, std::int32_t count) {
    const BatchView view = View(first, count);
    Floats queries(queries_.begin() + std::int64_t{first} * kHeads * kKey,
                   queries_.begin() + std::int64_t{first + count} * kHeads * kKey);
    Floats out(static_cast<std::size_t>(count * kHeads * kLatent));
    backend_.AttendLatents(MakeTensor(queries.data(), DType::kF32, count, kHeads, kKey), view,
                           Layer(), kScale,
                           MakeTensor(out.data(), DType::kF32, count, kHeads, kLatent));
    return out;
  }

  // What attention is, in double, of one token and head.
  std::vector<double> Reference(std::int64_t token, std::int64_t head) const {
    std::vector<double> weights;
    for (std::int64_t j = 0; j <= token; ++j) weights.push_back(Score(token, head, j));
    const double most = *std::max_element(weights.begin(), weights.end());
    double sum = 0;
    for (double& weight : weights) sum += weight = std::exp(weight - most);
    std::vector<double> result(kLatent);
    for (std::int64_t j = 0; j <= token; ++j) {
      for (std::int64_t d = 0; d < kLatent; ++d) {
        result[static_cast<std::size_t>(d)] +=
            weights[static_cast<std::size_t>(j)] / sum * At(keys_, j * kKey + d);
      }
    }
    return result;
  }

 private:
  static double At(const Floats& values, std::int64_t i) {
    return values[static_cast<std::size_t>(i)];
  }

  static void NormLatent(float* row) {
    double squares = 0;
    for (std::int64_t d = 0; d < kLatent; ++d) squares += double{row[d]} * row[d];
    const double factor = 1 / std::sqrt(squares / kLatent + double{kEps});
    for (std::int64_t d = 0; d < kLatent; ++d) row[d] = static_cast<float>(row[d] * factor);
  }

  double Score(std::int64_t token, std::int64_t head, std::int64_t j) const {
    double score = 0;
    const std::int64_t query = (token * kHeads + head) * kKey;
    for (std::int64_t d = 0; d < kLatent; ++d) {
      score += At(queries_, query + d) * At(keys_, j * kKey + d);
    }
    for (std::int64_t i = 0; i < kRotated / 2; ++i) {
      const double cosine = At(rope_, j * kRotated + i);
      const double sine = At(rope_, j * kRotated + kRotated / 2 + i);
      const double a = At(keys_, j * kKey + kLatent + 2 * i);
      const double b = At(keys_, j * kKey + kLatent + 2 * i + 1);
      score += At(queries_, query + kLatent + i) * (a * cosine - b * sine);
      score += At(queries_, query + kLatent + kRotated / 2 + i) * (b * cosine + a * sine);
    }
    return score * kScale;
  }

  std::int32_t NumBlocks() const { return (kPositions + block_tokens_ - 1) / block_tokens_; }

  KvLayer Layer() {
    return {.planes = {MakeTensor(plane_.data(), DType::kF32, NumBlocks(), block_tokens_ * kKey)},
            .num_kv_heads = 1,
            .block_tokens = block_tokens_,
            .head_dim = kKey};
  }

  BatchView View(std::int32_t first, std::int32_t count) {
    positions_.clear();
    for (std::int32_t t = 0; t < count; ++t) positions_.push_back(first + t);
    sequences_.assign(static_cast<std::size_t>(count), 0);
    starts_ = {0, count};
    return {.num_tokens = count,
            .num_seqs = 1,
            .max_blocks = NumBlocks(),
            .positions = positions_.data(),
            .token_seq = sequences_.data(),
            .query_start = starts_.data(),
            .seq_slot = slots_.data(),
            .block_tables = blocks_.data()};
  }

  CpuBackend backend_;
  const std::int32_t block_tokens_;
  Floats plane_;                                // what no token wrote is not to be read as one
  Floats keys_ = Random(kPositions * kKey, 2);  // latents normed, the rest not rotated
  Floats rope_ = Random(kPositions * kRotated, 3);
  const Floats queries_ = Random(kPositions * kHeads * kKey, 4);
  std::vector<std::int32_t> blocks_;
  std::vector<std::int32_t> positions_;
  std::vector<std::int32_t> sequences_;
  std::vector<std::int32_t> starts_;
  const std::vector<std::int32_t> slots_ = {0};
};

TEST(LatentAttentionTest, IsAttentionOverTheKeysThatWereWritten) {
  Sequence sequence(16, 2);
  const Floats all = sequence.Attend(0, kPositions);
  for (const std::int64_t token : {0, 1, 63, 64, 511, 512, 513, 1024, 1199}) {
    for (std::int64_t head = 0; head < kHeads; ++head) {
      const std::vector<double> expected = sequence.Reference(token, head);
      for (std::int64_t d = 0; d < kLatent; ++d) {
        EXPECT_NEAR(all[static_cast<std::size_t>((token * kHeads + head) * kLatent + d)],
                    expected[static_cast<std::size_t>(d)], 1e-5)
            << "token " << token << ", head " << head;
      }
    }
  }
}

// Whatever stands beside it, and whoever computes a segment.
TEST(LatentAttentionTest, GivesATokenTheSameBitsAloneAndAmongOthers) {
  const Floats all = Sequence(16, 2).Attend(0, kPositions);
  const auto expect_part = [&](Sequence& sequence, std::int32_t first, std::int32_t count) {
    const auto begin = all.begin() + first * kHeads * kLatent;
    EXPECT_EQ(sequence.Attend(first, count), Floats(begin, begin + count * kHeads * kLatent))
        << count << " from " << first;
  };
  for (const std::int32_t block_tokens : {16, 48}) {
    for (const int threads : {1, 3}) {
      Sequence sequence(block_tokens, threads);
      for (const std::int32_t first : {0, 63, 500, 1023}) {
        for (const std::int32_t count : {1, 2, 7, 100}) expect_part(sequence, first, count);
      }
    }
  }
}

TEST(LatentAttentionTest, QueriesTurnAsKeysDo) {
  Floats rope = {0.5F, 0.25F, 2.0F, 4.0F};       // cosines, sines
  Floats rows = {9, 1, 2, 3, 4, 9, 5, 6, 7, 8};  // of each head one that is not rotated first
  const std::int32_t position = 0;
  const std::int32_t sequence = 0;
  const BatchView batch = {.num_tokens = 1, .positions = &position, .token_seq = &sequence};
  CpuBackend backend(1);
  const Floats matrices(4, 1.0F);
  const auto heads = backend.MakeLatentHeads(
      {.data = matrices.data(), .encoding = Encoding::kF32, .rows = 4, .cols = 1, .row_stride = 1},
      {.heads = 2, .plain = 1, .rotated = 4, .latent = 1, .result = 1});
  const auto rotated = [&](bool is_interleaved) {
    Floats out(10);
    backend.AbsorbQueries(Matrix(rows, 10), *heads, {Matrix(rope, 4), is_interleaved}, batch,
                          MakeTensor(out.data(), DType::kF32, 1, 2, 5));
    Floats turned(out.begin() + 1, out.begin() + 5);
    turned.insert(turned.end(), out.begin() + 6, out.end());
    return turned;
  };
  EXPECT_EQ(rotated(true),
            Floats({0.5F * 1 - 2 * 2, 0.25F * 3 - 4 * 4, 0.5F * 2 + 2 * 1, 0.25F * 4 + 4 * 3,
                    0.5F * 5 - 2 * 6, 0.25F * 7 - 4 * 8, 0.5F * 6 + 2 * 5, 0.25F * 8 + 4 * 7}));
  EXPECT_EQ(rotated(false),
            Floats({0.5F * 1 - 2 * 3, 0.25F * 2 - 4 * 4, 0.5F * 3 + 2 * 1, 0.25F * 4 + 4 * 2,
                    0.5F * 5 - 2 * 7, 0.25F * 6 - 4 * 8, 0.5F * 7 + 2 * 5, 0.25F * 8 + 4 * 6}));
}

}  // namespace
}  // namespace thinkwire::worker::kernels

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/worker/kernels/op_testing.h"

namespace thinkwire::worker::kernels {
namespace {

constexpr std::int64_t kHidden = 48;
constexpr std::int64_t kMaxPositions = 1200;

struct Heads {
  std::int64_t query;
  std::int64_t kv;
  std::int64_t dim;
};

// One layer's attention: a projection, a rope table and a paged cache, over the tokens of some
// sequences. Blocks are dealt out in a shuffled order, and hold NaN until a token is written.
class Layer {
 public:
  Layer(CpuBackend& backend, const Heads& heads, std::int32_t block_tokens,
        std::vector<std::int32_t> lengths)
      : backend_(backend), heads_(heads), block_tokens_(block_tokens), lengths_(lengths) {
    const std::int64_t rows = (heads.query + 2 * heads.kv) * heads.dim;
    weights_ = RandomBf16Floats(rows * kHidden, 11, 0.3F);
    bias_ = RandomFloats(rows, 12);
    const std::vector<WeightSlice> parts = {SliceOf(weights_, rows, kHidden)};
    const std::vector<WeightSlice> bias = {SliceOf(bias_, rows, 1)};
    qkv_ = backend.MakeLinear(parts, bias, LinearLayout::kQkv);
    for (std::int64_t p = 0; p < kMaxPositions; ++p) {
      for (int part = 0; part < 2; ++part) {
        for (std::int64_t i = 0; i < heads.dim / 2; ++i) {
          const double angle = static_cast<double>(p) * std::pow(10000.0, -2.0 * i / heads.dim);
          rope_.push_back(static_cast<float>(part == 0 ? std::cos(angle) : std::sin(angle)));
        }
      }
    }
    const auto seqs = static_cast<std::int32_t>(lengths.size());
    max_blocks_ = *std::max_element(lengths.begin(), lengths.end()) / block_tokens + 1;
    for (std::int32_t i = 0; i < seqs * max_blocks_; ++i) block_tables_.push_back(i);
    std::shuffle(block_tables_.begin(), block_tables_.end(), std::mt19937(5));
    const std::int64_t floats =
        std::int64_t{seqs} * max_blocks_ * heads.kv * block_tokens * heads.dim;
    keys_.assign(static_cast<std::size_t>(floats), std::numeric_limits<float>::quiet_NaN());
    values_ = keys_;
  }

  // x of a sequence's token, the same whatever the step.
  std::vector<float> Input(std::int32_t seq, std::int32_t position) const {
    return RandomFloats(kHidden, static_cast<std::uint32_t>(seq * 10000 + position));
  }

  struct Piece {
    std::int32_t seq;
    std::int32_t first;
    std::int32_t count;
  };

  // Computes a step of these pieces, then `padding` padded tokens. Returns [T, H, D].
  std::vector<float> Step(const std::vector<Piece>& pieces, std::int32_t padding = 0) {
    std::vector<float> x;
    std::vector<std::int32_t> positions;
    std::vector<std::int32_t> token_seq;
    std::vector<std::int32_t> query_start = {0};
    std::vector<std::int32_t> seq_slot;
    for (const Piece& piece : pieces) {
      for (std::int32_t p = piece.first; p < piece.first + piece.count; ++p) {
        const std::vector<float> row = Input(piece.seq, p);
        x.insert(x.end(), row.begin(), row.end());
        positions.push_back(p);
        token_seq.push_back(static_cast<std::int32_t>(seq_slot.size()));
      }
      seq_slot.push_back(piece.seq);
      query_start.push_back(static_cast<std::int32_t>(positions.size()));
    }
    const std::size_t tokens = positions.size();
    if (padding > 0) {
      x.resize(x.size() + static_cast<std::size_t>(padding * kHidden), 1.0F);
      positions.resize(tokens + static_cast<std::size_t>(padding), 0);
      token_seq.resize(positions.size(), -1);
      query_start.push_back(query_start.back());
      seq_slot.push_back(0);
    }
    const auto t = static_cast<std::int32_t>(positions.size());
    const BatchView batch = {.num_tokens = t,
                             .num_seqs = static_cast<std::int32_t>(seq_slot.size()),
                             .max_blocks = max_blocks_,
                             .positions = positions.data(),
                             .token_seq = token_seq.data(),
                             .query_start = query_start.data(),
                             .seq_slot = seq_slot.data(),
                             .block_tables = block_tables_.data()};
    const F32 input({t, kHidden}, DType::kF32, x);
    F32 q({t, heads_.query, heads_.dim}, DType::kF32);
    F32 out({t, heads_.query, heads_.dim}, DType::kF32);
    backend_.QkvRopeWriteKv(input.tensor, *qkv_,
                            MakeTensor(rope_.data(), DType::kF32, kMaxPositions, heads_.dim), batch,
                            View(), q.tensor);
    backend_.PagedAttention(q.tensor, batch, View(), Scale(), out.tensor);
    out.values.resize(tokens * static_cast<std::size_t>(heads_.query * heads_.dim));
    return out.values;
  }

  // The same in double precision for the last token of a sequence that is `length` long.
  std::vector<double> Reference(std::int32_t seq, std::int32_t length) const {
    std::vector<std::vector<double>> rows;
    for (std::int32_t p = 0; p < length; ++p) rows.push_back(Project(seq, p));
    const std::int64_t dim = heads_.dim;
    std::vector<double> out(static_cast<std::size_t>(heads_.query * dim));
    for (std::int64_t h = 0; h < heads_.query; ++h) {
      const std::int64_t kv = heads_.query + h / (heads_.query / heads_.kv);
      std::vector<double> weights;
      double sum = 0;
      for (const auto& row : rows) {
        double score = 0;
        for (std::int64_t d = 0; d < dim; ++d) {
          score += At(rows.back(), h * dim + d) * At(row, kv * dim + d);
        }
        weights.push_back(std::exp(score * Scale()));
        sum += weights.back();
      }
      for (std::size_t j = 0; j < rows.size(); ++j) {
        for (std::int64_t d = 0; d < dim; ++d) {
          out[static_cast<std::size_t>(h * dim + d)] +=
              weights[j] / sum * At(rows[j], (kv + heads_.kv) * dim + d);
        }
      }
    }
    return out;
  }

  const std::vector<float>& keys() const { return keys_; }
  const std::vector<float>& values() const { return values_; }
  std::int32_t length(std::int32_t seq) const { return lengths_[static_cast<std::size_t>(seq)]; }

 private:
  static double At(const std::vector<double>& row, std::int64_t i) {
    return row[static_cast<std::size_t>(i)];
  }
  float Scale() const { return 1.0F / std::sqrt(static_cast<float>(heads_.dim)); }
  KvLayer View() {
    const auto blocks = static_cast<std::int64_t>(block_tables_.size());
    const std::int64_t floats = static_cast<std::int64_t>(keys_.size()) / blocks;
    return {.planes = {MakeTensor(keys_.data(), DType::kF32, blocks, floats),
                       MakeTensor(values_.data(), DType::kF32, blocks, floats)},
            .num_kv_heads = static_cast<std::int32_t>(heads_.kv),
            .block_tokens = block_tokens_,
            .head_dim = static_cast<std::int32_t>(heads_.dim)};
  }

  // q, k and v of one token, rotated.
  std::vector<double> Project(std::int32_t seq, std::int32_t position) const {
    const std::vector<float> x = Input(seq, position);
    const std::int64_t rows = (heads_.query + 2 * heads_.kv) * heads_.dim;
    std::vector<double> y(bias_.begin(), bias_.end());
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t i = 0; i < kHidden; ++i) {
        y[static_cast<std::size_t>(r)] +=
            static_cast<double>(weights_[static_cast<std::size_t>(r * kHidden + i)]) *
            x[static_cast<std::size_t>(i)];
      }
    }
    const std::int64_t half = heads_.dim / 2;
    const float* rope = rope_.data() + position * heads_.dim;
    for (std::int64_t h = 0; h < heads_.query + heads_.kv; ++h) {
      double* head = y.data() + h * heads_.dim;
      for (std::int64_t i = 0; i < half; ++i) {
        const double a = head[i];
        const double b = head[i + half];
        head[i] = a * rope[i] - b * rope[half + i];
        head[i + half] = b * rope[i] + a * rope[half + i];
      }
    }
    return y;
  }

  CpuBackend& backend_;
  const Heads heads_;
  const std::int32_t block_tokens_;
  const std::vector<std::int32_t> lengths_;
  std::int32_t max_blocks_ = 0;
  std::vector<float> weights_;
  std::vector<float> bias_;
  std::unique_ptr<LinearWeight> qkv_;
  std::vector<float> rope_;
  std::vector<std::int32_t> block_tables_;
  std::vector<float> keys_;
  std::vector<float> values_;
};

// The whole of sequence `seq` in steps of `chunk` tokens.
std::vector<float> InChunks(Layer& layer, std::int32_t seq, std::int32_t chunk) {
  std::vector<float> out;
  for (std::int32_t p = 0; p < layer.length(seq); p += chunk) {
    const auto piece = layer.Step({{seq, p, std::min(chunk, layer.length(seq) - p)}});
    out.insert(out.end(), piece.begin(), piece.end());
  }
  return out;
}

TEST(PagedAttention, EqualsDoublePrecision) {
  CpuBackend backend(2);
  for (const Heads& heads : {Heads{1, 1, 2}, Heads{6, 2, 24}, Heads{4, 4, 16}, Heads{7, 1, 128}}) {
    for (const std::int32_t length : {1, 2, 15, 16, 17, 63, 64, 65, 130}) {
      Layer layer(backend, heads, 16, {length});
      const std::vector<float> out = layer.Step({{0, 0, length}});
      const std::vector<double> expected = layer.Reference(0, length);
      for (std::size_t i = 0; i < expected.size(); ++i) {
        ASSERT_NEAR(out[out.size() - expected.size() + i], expected[i], Tolerance::kAttention * 32)
            << heads.query << " heads, " << heads.dim << " wide, length " << length;
      }
    }
  }
}

TEST(PagedAttention, EqualsDoublePrecisionOverSeveralSegments) {
  CpuBackend backend(2);
  for (const std::int32_t length : {511, 512, 513, 1100}) {
    Layer layer(backend, {4, 2, 32}, 16, {length});
    const std::vector<float> out = InChunks(layer, 0, 400);
    const std::vector<double> expected = layer.Reference(0, length);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(out[out.size() - expected.size() + i], expected[i], Tolerance::kAttention * 32)
          << length;
    }
  }
}

TEST(PagedAttention, SameBitsForAnyChunkBlockSizeInstructionSetAndThreadCount) {
  const std::int32_t length = 530;
  CpuBackend reference_backend(1, Isa::kPortable);
  Layer reference(reference_backend, {6, 2, 40}, 16, {length});
  const std::vector<float> expected = InChunks(reference, 0, length);
  for (const BackendCase& c : BackendCases()) {
    CpuBackend backend(c.threads, c.isa);
    for (const std::int32_t chunk : {1, 7, 64, 511}) {
      const std::int32_t block_tokens = chunk == 7 ? 5 : chunk == 64 ? 32 : 16;
      Layer layer(backend, {6, 2, 40}, block_tokens, {length});
      EXPECT_TRUE(SameBits(InChunks(layer, 0, chunk), expected))
          << NameOf(c) << " chunk " << chunk << " block " << block_tokens;
    }
  }
}

TEST(PagedAttention, SequencesInOneStepDoNotTouchEachOther) {
  CpuBackend backend(2);
  const std::vector<std::int32_t> lengths = {90, 3, 600};
  Layer alone(backend, {4, 2, 32}, 16, lengths);
  Layer together(backend, {4, 2, 32}, 16, lengths);
  std::vector<std::vector<float>> expected;
  for (std::int32_t s = 0; s < 3; ++s) expected.push_back(InChunks(alone, s, 1000));
  together.Step({{0, 0, 89}, {2, 0, 300}}, 3);
  together.Step({{1, 0, 2}, {2, 300, 299}});
  const std::vector<float> last = together.Step({{2, 599, 1}, {0, 89, 1}, {1, 2, 1}}, 5);
  const std::size_t width = 4 * 32;
  const std::int32_t order[] = {2, 0, 1};
  for (std::size_t i = 0; i < 3; ++i) {
    const auto& want = expected[static_cast<std::size_t>(order[i])];
    EXPECT_TRUE(SameBits({last.begin() + static_cast<std::ptrdiff_t>(i * width),
                          last.begin() + static_cast<std::ptrdiff_t>((i + 1) * width)},
                         {want.end() - static_cast<std::ptrdiff_t>(width), want.end()}))
        << "sequence " << order[i];
  }
}

TEST(QkvRopeWriteKv, PaddingTouchesNoBlock) {
  CpuBackend backend(2);
  Layer layer(backend, {4, 2, 32}, 16, {40});
  layer.Step({{0, 0, 20}});
  const std::vector<float> keys = layer.keys();
  const std::vector<float> values = layer.values();
  layer.Step({}, 9);
  EXPECT_TRUE(SameBits(layer.keys(), keys));
  EXPECT_TRUE(SameBits(layer.values(), values));
}

}  // namespace
}  // namespace thinkwire::worker::kernels

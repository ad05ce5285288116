#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tests/worker/kernels/cuda_attention_layer.h"
#include "worker/kernels/cuda/attention/kv_block.cuh"

namespace thinkwire::worker::kernels {
namespace {

// Of the magnitudes added up: half a bf16 step (2^-9) each for the weights, for their sum, which is
// of the rounded ones, and for the result.
constexpr double kTolerance = 3.0 / 512;

class CudaPagedAttention : public testing::Test {
 protected:
  void SetUp() override {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
      GTEST_SKIP() << "CudaPagedAttention needs a CUDA device";
    }
  }
};

// Of one token's row. Returns what is wrong, or nothing.
testing::AssertionResult IsNear(const std::vector<std::uint16_t>& out, std::size_t row,
                                const CudaAttentionLayer::Expected& expected) {
  const std::size_t width = expected.values.size();
  for (std::size_t i = 0; i < width; ++i) {
    const double got = std::bit_cast<float>(static_cast<std::uint32_t>(out[row * width + i]) << 16);
    if (!(std::abs(got - expected.values[i]) <= kTolerance * expected.magnitudes[i])) {
      return testing::AssertionFailure()
             << "head " << i / kHeadDim << " element " << i % kHeadDim << " is " << got
             << " instead of " << expected.values[i] << ", of magnitude " << expected.magnitudes[i];
    }
  }
  return testing::AssertionSuccess();
}

std::vector<std::uint16_t> RowsOf(const CudaAttentionLayer& layer,
                                  const std::vector<std::uint16_t>& out, int first, int count) {
  const auto width = static_cast<std::ptrdiff_t>(layer.row_elements());
  return {out.begin() + first * width, out.begin() + (first + count) * width};
}

constexpr AttentionShape kShapes[] = {{4, 4, 16}, {8, 2, 16},  {5, 1, 32},  {12, 2, 16},
                                      {7, 1, 16}, {28, 4, 16}, {16, 2, 64}, {16, 1, 16}};
constexpr int kContexts[] = {1, 15, 16, 17, 127, 128, 129, 300, 1000};

TEST_F(CudaPagedAttention, DecodeEqualsDoublePrecision) {
  for (const AttentionShape& shape : kShapes) {
    CudaAttentionLayer layer(shape, {std::begin(kContexts), std::end(kContexts)});
    std::vector<StepRows> rows;
    for (int seq = 0; seq < static_cast<int>(std::size(kContexts)); ++seq) {
      rows.push_back({seq, kContexts[seq] - 1, 1});
    }
    const auto out = layer.Step(rows);
    for (const StepRows& row : rows) {
      EXPECT_TRUE(
          IsNear(out, static_cast<std::size_t>(row.seq), layer.Reference(row.seq, row.first)))
          << shape.heads << "/" << shape.kv_heads << " heads, context " << row.first + 1;
    }
  }
}

TEST_F(CudaPagedAttention, PrefillEqualsDoublePrecision) {
  for (const AttentionShape& shape : kShapes) {
    for (const int context : kContexts) {
      CudaAttentionLayer layer(shape, {context});
      const auto out = layer.Step({{0, 0, context}});
      for (const int position : {0, 15, 16, 63, 127, 128, 130, 255, 256, context - 1}) {
        if (position >= context) continue;
        EXPECT_TRUE(IsNear(out, static_cast<std::size_t>(position), layer.Reference(0, position)))
            << shape.heads << "/" << shape.kv_heads << " heads, context " << context
            << ", position " << position;
      }
    }
  }
}

TEST_F(CudaPagedAttention, SameBitsForAnyChunk) {
  for (const AttentionShape& shape : kShapes) {
    for (const int context : {17, 300}) {
      CudaAttentionLayer whole(shape, {context});
      const auto expected = whole.Step({{0, 0, context}});
      for (const int chunk : {1, 2, 3, 7, 64}) {
        CudaAttentionLayer layer(shape, {context});
        EXPECT_EQ(layer.InChunks(0, chunk), expected)
            << shape.heads << "/" << shape.kv_heads << " heads, context " << context
            << ", chunks of " << chunk;
      }
    }
  }
}

TEST_F(CudaPagedAttention, SameBitsForAnyBlockSize) {
  const int context = 300;
  CudaAttentionLayer small({8, 2, 16}, {context});
  const auto expected = small.Step({{0, 0, context}});
  for (const int block_tokens : {32, 48, 128, 256}) {
    CudaAttentionLayer layer({8, 2, block_tokens}, {context});
    EXPECT_EQ(layer.Step({{0, 0, context}}), expected) << block_tokens;
    EXPECT_EQ(layer.Step({{0, context - 1, 1}}), RowsOf(layer, expected, context - 1, 1))
        << block_tokens;
  }
}

// 64 other sequences, prompts and drawn tokens, with padding between and behind them.
TEST_F(CudaPagedAttention, NeighboursAndPaddingChangeNoBit) {
  for (const AttentionShape& shape : {AttentionShape{12, 2, 16}, AttentionShape{28, 4, 16}}) {
    std::vector<int> lengths = {900};
    for (int i = 0; i < 64; ++i) lengths.push_back(1 + i * 37 % 700);
    CudaAttentionLayer alone(shape, lengths);
    const auto last = alone.Step({{0, 899, 1}});
    const auto chunk = alone.Step({{0, 650, 200}});
    for (const bool prompts : {false, true}) {
      CudaAttentionLayer layer(shape, lengths);
      std::vector<StepRows> rows;
      int before = 0;
      for (int seq = 1; seq <= 64; ++seq) {
        const int length = lengths[static_cast<std::size_t>(seq)];
        const int count = prompts && seq % 3 == 0 ? length : 1;
        rows.push_back({seq, length - count, count});
        if (seq <= 40) before += count;
        if (prompts && seq % 5 == 0) rows.push_back({seq, 0, 0});
        if (seq == 40) rows.push_back({0, 899, 1});
      }
      const auto out = layer.Step(rows, prompts ? 9 : 0);
      EXPECT_EQ(RowsOf(layer, out, before, 1), last) << "with prompts: " << prompts;
      for (int seq = 1, at = 0; seq <= 64; ++seq) {
        const int length = lengths[static_cast<std::size_t>(seq)];
        at += prompts && seq % 3 == 0 ? length : 1;
        if (seq % 8 == 0) {
          EXPECT_TRUE(IsNear(out, static_cast<std::size_t>(seq >= 41 ? at : at - 1),
                             layer.Reference(seq, length - 1)))
              << "sequence " << seq;
        }
      }
      for (StepRows& row : rows) {
        if (row.seq == 0 && row.count == 1) row = {0, 650, 200};
      }
      EXPECT_EQ(RowsOf(layer, layer.Step(rows, 3), before, 200), chunk)
          << "with prompts: " << prompts;
    }
  }
}

// Sequences whose partial results find no room are walked by one block a head.
TEST_F(CudaPagedAttention, SameBitsWithoutRoomForPartialResults) {
  const AttentionShape shape = {12, 2, 16};
  const std::vector<int> lengths = {700, 30, 515, 129, 1000, 260};
  std::vector<StepRows> rows;
  for (int seq = 0; seq < static_cast<int>(lengths.size()); ++seq) {
    rows.push_back({seq, lengths[static_cast<std::size_t>(seq)] - 1, 1});
  }
  rows.insert(rows.begin() + 4, {0, 0, 0});
  CudaAttentionLayer roomy(shape, lengths);
  const auto expected = roomy.Step(rows, 1);
  for (const std::int64_t partial_rows : {0, 80, 200}) {
    CudaAttentionLayer layer(shape, lengths, partial_rows);
    for (int i = 0; i < 2; ++i) EXPECT_EQ(layer.Step(rows, 1), expected) << partial_rows;
  }
}

TEST_F(CudaPagedAttention, SameBitsEachTime) {
  CudaAttentionLayer layer({28, 4, 16}, {1000, 777, 512});
  const std::vector<StepRows> rows = {{0, 999, 1}, {1, 700, 77}, {2, 510, 2}};
  const auto expected = layer.Step(rows);
  for (int i = 0; i < 20; ++i) ASSERT_EQ(layer.Step(rows), expected);
}

}  // namespace
}  // namespace thinkwire::worker::kernels

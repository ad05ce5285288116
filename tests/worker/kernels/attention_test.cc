#include <algorithm>

#include "tests/worker/kernels/paged_layer.h"

namespace thinkwire::worker::kernels {
namespace {

// CUDA takes heads of 128 alone.
std::vector<AttentionShape> Shapes(DType activation) {
  if (activation == DType::kF32)
    return {{1, 1, 2, 16}, {6, 2, 24, 16}, {4, 4, 16, 16}, {7, 1, 128, 16}};
  return {{4, 4, 128, 16}, {8, 2, 128, 16},  {5, 1, 128, 32},  {12, 2, 128, 16},
          {7, 1, 128, 16}, {28, 4, 128, 16}, {16, 2, 128, 64}, {16, 1, 128, 16}};
}

AttentionShape OneShape(DType activation) {
  return activation == DType::kF32 ? AttentionShape{6, 2, 40, 16} : AttentionShape{8, 2, 128, 16};
}

std::vector<int> Contexts(DType activation) {
  if (activation == DType::kF32) return {1, 2, 15, 16, 17, 63, 64, 65, 130};
  return {1, 15, 16, 17, 127, 128, 129, 300, 1000};
}

std::string NameOf(const AttentionShape& s) {
  return std::to_string(s.heads) + "/" + std::to_string(s.kv_heads) + " heads of " +
         std::to_string(s.head_dim) + ", blocks of " + std::to_string(s.block_tokens);
}

class PagedAttentionTest : public OpTest {
 protected:
  // What the device's results are compared with, bit for bit: its twin's where that is the same
  // code, else its own of the whole at once.
  Backend& model() { return GetParam().is_own_twin ? twin() : device(); }
};

TEST_P(PagedAttentionTest, DecodeEqualsDoublePrecision) {
  const std::vector<int> contexts = Contexts(act());
  for (const AttentionShape& shape : Shapes(act())) {
    PagedLayer layer(device(), shape, contexts);
    std::vector<StepRows> rows;
    for (int seq = 0; seq < static_cast<int>(contexts.size()); ++seq) {
      rows.push_back({seq, contexts[static_cast<std::size_t>(seq)] - 1, 1});
    }
    const auto out = layer.Step(rows);
    for (const StepRows& row : rows) {
      EXPECT_TRUE(layer.IsNear(out, row.seq, layer.Reference(row.seq, row.first)))
          << NameOf(shape) << ", context " << row.first + 1;
    }
  }
}

TEST_P(PagedAttentionTest, PrefillEqualsDoublePrecision) {
  for (const AttentionShape& shape : Shapes(act())) {
    for (const int context : Contexts(act())) {
      PagedLayer layer(device(), shape, {context});
      const auto out = layer.Step({{0, 0, context}});
      for (const int position : {0, 15, 16, 63, 127, 128, 130, 255, 256, context - 1}) {
        if (position >= context) continue;
        EXPECT_TRUE(layer.IsNear(out, position, layer.Reference(0, position)))
            << NameOf(shape) << ", context " << context << ", position " << position;
      }
    }
  }
}

TEST_P(PagedAttentionTest, EqualsDoublePrecisionOverSeveralSegments) {
  AttentionShape shape = {4, 2, 32, 16};
  if (!is_f32()) shape.head_dim = 128;
  for (const int length : {511, 512, 513, 1100}) {
    PagedLayer layer(device(), shape, {length});
    const auto out = layer.InChunks(0, 400);
    EXPECT_TRUE(layer.IsNear(out, length - 1, layer.Reference(0, length - 1))) << length;
  }
}

TEST_P(PagedAttentionTest, SameBitsForAnyChunk) {
  for (const AttentionShape& shape : Shapes(act())) {
    for (const int context : {17, 300}) {
      const auto expected = PagedLayer(device(), shape, {context}).Step({{0, 0, context}});
      for (const int chunk : {1, 2, 3, 7, 64}) {
        PagedLayer layer(device(), shape, {context});
        EXPECT_TRUE(SameBits(layer.InChunks(0, chunk), expected))
            << NameOf(shape) << ", context " << context << ", chunks of " << chunk;
      }
    }
  }
}

TEST_P(PagedAttentionTest, SameBitsForAnyBlockSize) {
  const int context = 300;
  AttentionShape shape = OneShape(act());
  const auto expected = PagedLayer(device(), shape, {context}).Step({{0, 0, context}});
  for (const int block_tokens : {32, 48, 128, 256}) {
    shape.block_tokens = block_tokens;
    PagedLayer layer(device(), shape, {context});
    EXPECT_TRUE(SameBits(layer.Step({{0, 0, context}}), expected)) << block_tokens;
    EXPECT_TRUE(SameBits(layer.Step({{0, context - 1, 1}}),
                         RowsOf(expected, layer.row_elements(), context - 1, 1)))
        << block_tokens;
  }
}

TEST_P(PagedAttentionTest, SameBitsInEveryWayForAnyChunkAndBlockSize) {
  const int length = 530;
  AttentionShape shape = OneShape(act());
  const auto expected = PagedLayer(model(), shape, {length}).InChunks(0, length);
  for (const Way& way : GetParam().ways()) {
    for (const int chunk : {1, 7, 64, 511}) {
      const int odd_block = is_f32() ? 5 : 48;
      shape.block_tokens = chunk == 7 ? odd_block : chunk == 64 ? 32 : 16;
      PagedLayer layer(*way.backend, shape, {length});
      EXPECT_TRUE(SameBits(layer.InChunks(0, chunk), expected))
          << way.name << ", chunks of " << chunk << ", " << NameOf(shape);
    }
  }
}

TEST_P(PagedAttentionTest, SequencesInOneStepDoNotTouchEachOther) {
  const std::vector<int> lengths = {90, 3, 600};
  PagedLayer alone(device(), OneShape(act()), lengths);
  PagedLayer together(device(), OneShape(act()), lengths);
  std::vector<std::vector<float>> expected;
  for (int s = 0; s < 3; ++s) expected.push_back(alone.InChunks(s, 1000));
  together.Step({{0, 0, 89}, {2, 0, 300}, {0, 0, 0}}, 3);
  together.Step({{1, 0, 2}, {2, 300, 299}});
  const auto last = together.Step({{2, 599, 1}, {0, 89, 1}, {1, 2, 1}, {0, 0, 0}}, 5);
  const std::int64_t width = together.row_elements();
  const int order[] = {2, 0, 1};
  for (std::int64_t i = 0; i < 3; ++i) {
    const int seq = order[i];
    EXPECT_TRUE(
        SameBits(RowsOf(last, width, i, 1), RowsOf(expected[static_cast<std::size_t>(seq)], width,
                                                   lengths[static_cast<std::size_t>(seq)] - 1, 1)))
        << "sequence " << seq;
  }
}

// 64 other sequences, prompts and drawn tokens, with padding between and behind them.
class Crowd {
 public:
  static constexpr int kOthers = 64;

  Crowd() {
    lengths_ = {900};
    for (int i = 0; i < kOthers; ++i) lengths_.push_back(1 + i * 37 % 700);
  }

  const std::vector<int>& lengths() const { return lengths_; }
  int length(int seq) const { return lengths_[static_cast<std::size_t>(seq)]; }
  // What a sequence of the crowd computes.
  int Count(int seq, bool prompts) const { return prompts && seq % 3 == 0 ? length(seq) : 1; }

  // With `mine` after sequence 40. Returns through `before` how many tokens come before it.
  std::vector<StepRows> Around(const StepRows& mine, bool prompts, int* before) const {
    std::vector<StepRows> rows;
    *before = 0;
    for (int seq = 1; seq <= kOthers; ++seq) {
      const int count = Count(seq, prompts);
      rows.push_back({seq, length(seq) - count, count});
      if (seq <= 40) *before += count;
      if (prompts && seq % 5 == 0) rows.push_back({seq, 0, 0});
      if (seq == 40) rows.push_back(mine);
    }
    return rows;
  }

 private:
  std::vector<int> lengths_;
};

TEST_P(PagedAttentionTest, NeighboursAndPaddingChangeNoBit) {
  std::vector<AttentionShape> shapes = {{12, 2, 128, 16}, {28, 4, 128, 16}};
  if (is_f32()) shapes = {{4, 2, 32, 16}};
  const Crowd crowd;
  for (const AttentionShape& shape : shapes) {
    PagedLayer alone(device(), shape, crowd.lengths());
    const auto last = alone.Step({{0, 899, 1}});
    const auto chunk = alone.Step({{0, 650, 200}});
    for (const bool prompts : {false, true}) {
      SCOPED_TRACE(testing::Message() << NameOf(shape) << ", with prompts: " << prompts);
      PagedLayer layer(device(), shape, crowd.lengths());
      const std::int64_t width = layer.row_elements();
      int before = 0;
      const auto out = layer.Step(crowd.Around({0, 899, 1}, prompts, &before), prompts ? 9 : 0);
      EXPECT_TRUE(SameBits(RowsOf(out, width, before, 1), last));
      for (int seq = 1, at = 0; seq <= Crowd::kOthers; ++seq) {
        at += crowd.Count(seq, prompts);
        if (seq % 8 != 0) continue;
        EXPECT_TRUE(
            layer.IsNear(out, seq >= 41 ? at : at - 1, layer.Reference(seq, crowd.length(seq) - 1)))
            << "sequence " << seq;
      }
      const auto again = layer.Step(crowd.Around({0, 650, 200}, prompts, &before), 3);
      EXPECT_TRUE(SameBits(RowsOf(again, width, before, 200), chunk));
    }
  }
}

TEST_P(PagedAttentionTest, SameBitsEachTime) {
  const AttentionShape shape = is_f32() ? OneShape(act()) : AttentionShape{28, 4, 128, 16};
  PagedLayer layer(device(), shape, {1000, 777, 512});
  const std::vector<StepRows> rows = {{0, 999, 1}, {1, 700, 77}, {2, 510, 2}};
  const auto expected = layer.Step(rows);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(SameBits(layer.Step(rows), expected));
}

TEST_P(PagedAttentionTest, PaddingTouchesNoBlock) {
  PagedLayer layer(device(), OneShape(act()), {40});
  layer.Step({{0, 0, 20}});
  const std::vector<float> keys = layer.Keys();
  const std::vector<float> values = layer.Values();
  layer.Step({{0, 0, 0}}, 9);
  EXPECT_TRUE(SameBits(layer.Keys(), keys));
  EXPECT_TRUE(SameBits(layer.Values(), values));
}

INSTANTIATE_TEST_SUITE_P(Devices, PagedAttentionTest, testing::ValuesIn(TestedDevices()),
                         DeviceName);

}  // namespace
}  // namespace thinkwire::worker::kernels

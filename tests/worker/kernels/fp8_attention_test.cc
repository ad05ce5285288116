#include <string>
#include <vector>

#include "tests/worker/kernels/paged_layer.h"

// Attention over keys and values in FP8: a token's own, its chunk's and those before them are read
// as rounded, whatever the chunk.
namespace thinkwire::worker::kernels {
namespace {

constexpr KvScales kUneven = {.keys = 0.0123F, .values = 0.31F};
constexpr KvScales kPowersOfTwo = {.keys = 0.25F, .values = 0.125F};

std::vector<AttentionShape> Shapes(DType activation, const KvScales& scales) {
  if (activation == DType::kF32) {
    return {{6, 2, 24, 16, scales}, {7, 1, 128, 16, scales}, {4, 4, 40, 48, scales}};
  }
  return {{28, 4, 128, 16, scales}, {8, 8, 128, 32, scales}, {16, 1, 128, 48, scales}};
}

AttentionShape OneShape(DType activation, const KvScales& scales) {
  return Shapes(activation, scales).front();
}

class Fp8AttentionTest : public OpTest {
 protected:
  Backend& model() { return GetParam().is_own_twin ? twin() : device(); }
};

TEST_P(Fp8AttentionTest, EqualsDoublePrecisionOverTheRoundedKeysAndValues) {
  for (const AttentionShape& shape : Shapes(act(), kUneven)) {
    for (const int context : {1, 17, 130, 600}) {
      PagedLayer layer(device(), shape, {context});
      const auto out = layer.Step({{0, 0, context}});
      for (const int position : {0, 15, 63, 128, 512, context - 1}) {
        if (position >= context) continue;
        EXPECT_TRUE(layer.IsNear(out, position, layer.Reference(0, position)))
            << shape.heads << " heads, context " << context << ", position " << position;
      }
    }
  }
}

TEST_P(Fp8AttentionTest, GivesTheBitsOfUnroundedOnesWhereFp8HoldsThem) {
  constexpr int kContext = 700;
  for (const KvScales& scales : {KvScales(), kPowersOfTwo}) {
    for (AttentionShape shape : Shapes(act(), scales)) {
      shape.inputs_are_e4m3 = true;
      PagedLayer fp8(device(), shape, {kContext});
      shape.fp8.reset();
      PagedLayer whole(device(), shape, {kContext});
      for (const StepRows& rows : {StepRows{0, 0, kContext}, {0, kContext - 1, 1}}) {
        EXPECT_TRUE(SameBits(fp8.Step({rows}), whole.Step({rows})))
            << shape.heads << " heads, " << rows.count << " tokens";
      }
    }
  }
}

TEST_P(Fp8AttentionTest, SameBitsInEveryWayForAnyChunkAndBlockSize) {
  constexpr int kLength = 530;
  AttentionShape shape = OneShape(act(), kUneven);
  const auto expected = PagedLayer(model(), shape, {kLength}).InChunks(0, kLength);
  for (const Way& way : GetParam().ways()) {
    for (const int chunk : {1, 7, 64, 511}) {
      shape.block_tokens = chunk == 7 ? 48 : chunk == 64 ? 32 : 16;
      PagedLayer layer(*way.backend, shape, {kLength});
      EXPECT_TRUE(SameBits(layer.InChunks(0, chunk), expected))
          << way.name << ", chunks of " << chunk;
    }
  }
}

// Prompts of several lengths and single tokens in one step.
TEST_P(Fp8AttentionTest, NeighboursAndPaddingChangeNoBit) {
  const std::vector<int> lengths = {900, 3, 90, 600, 129, 257, 33};
  PagedLayer alone(device(), OneShape(act(), kUneven), lengths);
  const auto chunk = alone.Step({{0, 650, 200}});
  const auto last = alone.Step({{0, 899, 1}});
  PagedLayer layer(device(), OneShape(act(), kUneven), lengths);
  const std::int64_t width = layer.row_elements();
  const auto prompts =
      layer.Step({{1, 0, 3}, {3, 0, 600}, {0, 0, 0}, {0, 650, 200}, {2, 89, 1}, {4, 0, 129}}, 5);
  EXPECT_TRUE(SameBits(RowsOf(prompts, width, 603, 200), chunk));
  const auto drawn =
      layer.Step({{5, 256, 1}, {0, 0, 0}, {3, 599, 1}, {0, 899, 1}, {6, 32, 1}, {1, 2, 1}}, 3);
  EXPECT_TRUE(SameBits(RowsOf(drawn, width, 2, 1), last));
}

TEST_P(Fp8AttentionTest, SameBitsEachTime) {
  PagedLayer layer(device(), OneShape(act(), kUneven), {1000, 777, 512});
  const std::vector<StepRows> rows = {{0, 999, 1}, {1, 700, 77}, {2, 510, 2}};
  const auto expected = layer.Step(rows);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(SameBits(layer.Step(rows), expected));
}

TEST_P(Fp8AttentionTest, PaddingTouchesNoBlock) {
  PagedLayer layer(device(), OneShape(act(), kUneven), {40});
  layer.Step({{0, 0, 20}});
  const std::vector<float> keys = layer.Keys();
  const std::vector<float> values = layer.Values();
  layer.Step({{0, 0, 0}}, 9);
  EXPECT_TRUE(SameBits(layer.Keys(), keys));
  EXPECT_TRUE(SameBits(layer.Values(), values));
}

INSTANTIATE_TEST_SUITE_P(Devices, Fp8AttentionTest, testing::ValuesIn(TestedDevices()), DeviceName);

}  // namespace
}  // namespace thinkwire::worker::kernels

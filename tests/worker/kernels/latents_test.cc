#include <algorithm>
#include <cmath>
#include <memory>

#include "tests/worker/kernels/op_testing.h"
#include "tests/worker/kernels/paged_layer.h"

// The ops of attention over latents. A GPU takes latents of 512, of which 64 more of a key rotate.
namespace thinkwire::worker::kernels {
namespace {

constexpr std::int64_t kRotatedPart = 64;
constexpr std::int64_t kPlain = 32;
constexpr std::int64_t kResult = 48;
constexpr std::int32_t kBlockTokens = 16;
constexpr float kScale = 0.4F;  // so that few keys have most of the weight
constexpr float kEps = 1e-6F;

std::int64_t LatentOf(DType activation) { return activation == DType::kF32 ? 64 : 512; }
std::int64_t KeyOf(DType activation) { return LatentOf(activation) + kRotatedPart; }
int PositionsOf(DType activation) { return activation == DType::kF32 ? 100 : 700; }

// A sequence of so many positions, whose keys are in a plane: those of earlier tokens too.
class Keys {
 public:
  Keys(Backend& backend, DType activation, int positions)
      : backend_(backend),
        key_(KeyOf(activation)),
        positions_(positions),
        blocks_((positions + kBlockTokens - 1) / kBlockTokens),
        plane_(Act(backend, {blocks_, kBlockTokens * key_},
                   std::vector<float>(static_cast<std::size_t>(blocks_ * kBlockTokens * key_)))),
        rope_(backend, DType::kF32, {positions, kRotatedPart},
              RopeTable(positions, static_cast<int>(kRotatedPart))) {}

  void Write(const std::vector<float>& rows) {
    const DeviceFloats keys = Act(backend_, {positions_, key_}, rows);
    const std::vector<float> ones = RandomBf16Floats(key_ - kRotatedPart, 3);
    const DeviceFloats norm(backend_, DType::kBf16, {key_ - kRotatedPart}, ones);
    backend_.WriteLatents({.rows = keys.tensor(), .norm = norm.tensor(), .eps = kEps}, rotation(),
                          Batch(0, positions_, 0).view(), layer());
    backend_.Synchronize();
  }

  // Of tokens [first, first + count) and `padding` more.
  DeviceBatch Batch(int first, int count, int padding) const {
    std::vector<std::int32_t> positions;
    std::vector<std::int32_t> sequences(static_cast<std::size_t>(count), 0);
    for (int t = 0; t < count; ++t) positions.push_back(first + t);
    positions.resize(static_cast<std::size_t>(count + padding));
    sequences.resize(static_cast<std::size_t>(count + padding), -1);
    std::vector<std::int32_t> table;
    for (int i = blocks_ - 1; i >= 0; --i) table.push_back(i);
    return DeviceBatch(backend_, positions, sequences, {0, count}, {0}, table, blocks_);
  }

  // Queries and results are [count, H, any].
  std::vector<float> Attend(const std::vector<float>& queries, std::int64_t heads, int first,
                            int count, int padding = 0) {
    const std::int64_t latent = key_ - kRotatedPart;
    std::vector<float> rows(queries.begin() + first * heads * key_,
                            queries.begin() + (first + count) * heads * key_);
    rows.resize(static_cast<std::size_t>((count + padding) * heads * key_));
    const DeviceFloats q = Act(backend_, {count + padding, heads, key_}, rows);
    const DeviceFloats out = PoisonedAct(backend_, {count + padding, heads, latent});
    const DeviceBatch batch = Batch(first, count, padding);
    backend_.AttendLatents(q.tensor(), batch.view(), layer(), kScale, out.tensor());
    std::vector<float> results = out.Read();
    results.resize(static_cast<std::size_t>(count * heads * latent));
    return results;
  }

  PairRotation rotation() const { return {.table = rope_.tensor(), .is_interleaved = true}; }
  std::vector<float> plane() const { return plane_.Read(); }

 private:
  KvLayer layer() const {
    return {.planes = {plane_.tensor()},
            .num_kv_heads = 1,
            .block_tokens = kBlockTokens,
            .head_dim = static_cast<std::int32_t>(key_)};
  }

  Backend& backend_;
  const std::int64_t key_;
  const int positions_;
  const int blocks_;
  const DeviceFloats plane_;
  const DeviceFloats rope_;
};

class LatentsTest : public OpTest {
 protected:
  std::int64_t key() const { return KeyOf(act()); }
  std::int64_t latent() const { return LatentOf(act()); }
  int positions() const { return PositionsOf(act()); }
  std::vector<float> KeyRows() const { return RandomActs(act(), positions() * key(), 1); }
  std::vector<float> Queries(std::int64_t heads) const {
    return RandomActs(act(), positions() * heads * key(), 2);
  }

  LatentShape ShapeOf(std::int64_t heads) const {
    return {.heads = heads,
            .plain = kPlain,
            .rotated = kRotatedPart,
            .latent = latent(),
            .result = kResult};
  }
  std::vector<float> HeadRows(std::int64_t heads) const {
    return RandomBf16Floats(heads * (kPlain + kResult) * latent(), 4, 0.2F);
  }

  // Keys were rounded once more on the device, which scores and results both feel.
  double ToleranceTo(const Keys& twin) const {
    double most = 0;
    for (const float value : twin.plane()) most = std::max(most, std::abs(double{value}));
    return is_f32() ? 0 : 4 * ToleranceOf(Op::kAttention, act()).of_magnitude * most;
  }

  // What a backend makes of `tokens` queries that are products, [T, H, C + R].
  std::vector<float> Absorb(Backend& backend, std::int64_t heads, int tokens) const {
    const std::vector<float> rows = HeadRows(heads);
    const auto weights = backend.MakeLatentHeads(
        SliceOf(rows, heads * (kPlain + kResult), latent()), ShapeOf(heads));
    const std::int64_t width = heads * (kPlain + kRotatedPart);
    const Keys keys(backend, act(), positions());
    const DeviceFloats q = Act(backend, {tokens, width}, RandomActs(act(), tokens * width, 5));
    const DeviceFloats out = PoisonedAct(backend, {tokens, heads, key()});
    const DeviceBatch batch = keys.Batch(0, tokens, 0);
    backend.AbsorbQueries(q.tensor(), *weights, keys.rotation(), batch.view(), out.tensor());
    return out.Read();
  }

  // Of the heads from `first` on.
  std::vector<float> Values(Backend& backend, std::int64_t heads, int tokens,
                            std::int64_t first) const {
    const std::vector<float> rows = HeadRows(heads);
    const auto weights = backend.MakeLatentHeads(
        SliceOf(rows, heads * (kPlain + kResult), latent()), ShapeOf(heads));
    const DeviceFloats x =
        Act(backend, {tokens, heads, latent()}, RandomActs(act(), tokens * heads * latent(), 6));
    const DeviceFloats out = PoisonedAct(backend, {tokens, (heads - first) * kResult});
    backend.LatentValues(x.tensor(), *weights, first, out.tensor());
    return out.Read();
  }
};

TEST_P(LatentsTest, WritesKeysAsTheTwin) {
  Keys keys(device(), act(), positions());
  keys.Write(KeyRows());
  Keys expected(twin(), act(), positions());
  expected.Write(KeyRows());
  EXPECT_TRUE(IsLikeTwin(Op::kNorm, act(), keys.plane(), expected.plane()));
}

TEST_P(LatentsTest, AbsorbsQueriesAsTheTwin) {
  for (const int tokens : {1, 9, 40}) {
    for (const std::int64_t heads : {2, 5}) {
      EXPECT_TRUE(IsLikeTwin(Op::kLinear, act(), Absorb(device(), heads, tokens),
                             Absorb(twin(), heads, tokens)))
          << tokens << " tokens, " << heads << " heads";
    }
  }
}

TEST_P(LatentsTest, BringsLatentsToValuesAsTheTwin) {
  for (const int tokens : {1, 9, 40}) {
    for (const std::int64_t first : {0, 3}) {
      EXPECT_TRUE(IsLikeTwin(Op::kLinear, act(), Values(device(), 5, tokens, first),
                             Values(twin(), 5, tokens, first)))
          << tokens << " tokens, from head " << first;
    }
  }
}

TEST_P(LatentsTest, ProductsOfATokenHaveTheSameBitsAmongOthers) {
  constexpr std::int64_t kHeads = 3;
  const std::vector<float> absorbed = Absorb(device(), kHeads, 70);
  const std::vector<float> values = Values(device(), kHeads, 70, 0);
  for (const int tokens : {1, 8, 33}) {
    EXPECT_TRUE(StartsWith(absorbed, Absorb(device(), kHeads, tokens))) << tokens;
    EXPECT_TRUE(StartsWith(values, Values(device(), kHeads, tokens, 0))) << tokens;
  }
}

// Both read the same keys, which the device's type holds.
TEST_P(LatentsTest, AttendsAsTheTwin) {
  for (const std::int64_t heads : {1, 16, 70}) {
    Keys keys(device(), act(), positions());
    keys.Write(KeyRows());
    Keys expected(twin(), act(), positions());
    expected.Write(KeyRows());
    const std::vector<float> queries = Queries(heads);
    const double tolerance = ToleranceTo(expected);
    for (const int first : {0, 31, 32, 255, 256, positions() - 1}) {
      if (first >= positions()) continue;
      const std::vector<float> got = keys.Attend(queries, heads, first, 1);
      const std::vector<float> want = expected.Attend(queries, heads, first, 1);
      ASSERT_EQ(got.size(), want.size());
      for (std::size_t i = 0; i < got.size(); ++i) {
        ASSERT_NEAR(got[i], want[i], tolerance) << "position " << first << ", " << i;
      }
    }
  }
}

// One token at a time is cut by segments, some by parts of them, all at once are walked whole.
TEST_P(LatentsTest, ATokenHasTheSameBitsAloneAndAmongOthers) {
  for (const std::int64_t heads : {4, 66}) {
    Keys keys(device(), act(), positions());
    keys.Write(KeyRows());
    const std::vector<float> queries = Queries(heads);
    const std::vector<float> all = keys.Attend(queries, heads, 0, positions());
    const std::int64_t width = heads * latent();
    for (const int count : {1, 3, 50}) {
      for (const int first : {0, 30, positions() - count}) {
        EXPECT_TRUE(SameBits(keys.Attend(queries, heads, first, count, 2),
                             RowsOf(all, width, first, count)))
            << count << " from " << first << ", " << heads << " heads";
      }
    }
  }
}

// A GPU's segments are 256 keys before position 16,896, and more from there on.
TEST_P(LatentsTest, SegmentsGrowWithThePosition) {
  constexpr int kPositions = 17'100;
  constexpr int kBorder = 16'896;
  const std::vector<float> rows = RandomActs(act(), kPositions * key(), 1);
  Keys keys(device(), act(), kPositions);
  keys.Write(rows);
  Keys expected(twin(), act(), kPositions);
  expected.Write(rows);
  const std::vector<float> queries = RandomActs(act(), kPositions * key(), 2);
  constexpr int kFirst = kBorder - 150;
  const std::vector<float> all = keys.Attend(queries, 1, kFirst, kPositions - kFirst);
  const std::vector<float> want = expected.Attend(queries, 1, kFirst, kPositions - kFirst);
  const double tolerance = ToleranceTo(expected);
  for (std::size_t i = 0; i < all.size(); ++i) ASSERT_NEAR(all[i], want[i], tolerance) << i;
  for (const int first : {kBorder - 2, kBorder, kPositions - 1}) {
    EXPECT_TRUE(
        SameBits(keys.Attend(queries, 1, first, 1), RowsOf(all, latent(), first - kFirst, 1)))
        << first;
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, LatentsTest, testing::ValuesIn(TestedDevices()), DeviceName);

}  // namespace
}  // namespace thinkwire::worker::kernels

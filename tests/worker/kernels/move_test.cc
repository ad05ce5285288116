#include "tests/worker/kernels/op_testing.h"

// Ops that only move: Embed, GatherInputIds, GatherRows, Scatter. All are exact.
namespace thinkwire::worker::kernels {
namespace {

// bf16 rows are whole pieces of eight.
std::vector<std::int64_t> Widths(DType activation) {
  if (activation == DType::kF32) return {1, 2, 16, 37};
  return {8, 16, 264};
}

class MoveTest : public OpTest {};

TEST_P(MoveTest, EmbedWidensTheRowOfEachId) {
  constexpr std::int64_t kRows = 50;
  const std::vector<std::int32_t> ids = {49, 0, 7, 7, 12};
  for (const std::int64_t width : Widths(act())) {
    const std::vector<float> values = RandomBf16Floats(kRows * width, 1);
    const DeviceInts on_ids(device(), ids);
    std::vector<float> want;
    for (const std::int32_t id : ids) {
      const std::vector<float> row = RowsOf(values, width, id, 1);
      want.insert(want.end(), row.begin(), row.end());
    }
    const Buffer table = device().MakeTable(SliceOf(values, kRows, width));
    const Buffer on_host = device().MakeHostTable(SliceOf(values, kRows, width));
    for (void* const rows : {table.data(), on_host.data()}) {
      const DeviceFloats out = PoisonedAct(device(), {5, width});
      device().Embed(on_ids.tensor(DType::kI32), MakeTensor(rows, DType::kBf16, kRows, width),
                     out.tensor());
      EXPECT_EQ(out.Read(), want) << width;
    }
  }
}

TEST_P(MoveTest, GatherInputIdsTakesTheGivenOrTheLastDrawnId) {
  const DeviceInts given(device(), {5, 6, 7, 8, 9});
  const DeviceInts source(device(), {-1, 1, -1, 0, 2});
  const DeviceInts last(device(), {100, 101, -5});
  const DeviceInts ids(device(), {-7, -7, -7, -7, -7});
  device().GatherInputIds(given.tensor(DType::kI32), source.tensor(DType::kI32),
                          last.tensor(DType::kI32), ids.tensor(DType::kI32));
  EXPECT_EQ(ids.Read(), (std::vector<std::int32_t>{5, 101, 7, 100, -5}));
}

TEST_P(MoveTest, GatherRowsCopiesRows) {
  for (const std::int64_t width : Widths(act())) {
    const std::vector<float> values = RandomActs(act(), 3 * width, 1);
    const DeviceFloats x = Act(device(), {3, width}, values);
    const DeviceInts rows(device(), {2, 0});
    const DeviceFloats out = PoisonedAct(device(), {2, width});
    device().GatherRows(x.tensor(), rows.tensor(DType::kI32), out.tensor());
    const std::vector<float> got = out.Read();
    EXPECT_EQ(RowsOf(got, width, 0, 1), RowsOf(values, width, 2, 1));
    EXPECT_EQ(RowsOf(got, width, 1, 1), RowsOf(values, width, 0, 1));
  }
}

TEST_P(MoveTest, ScatterWritesItsIndicesAlone) {
  const DeviceInts index(device(), {3, 0});
  const DeviceInts values(device(), {-5, 9});
  const DeviceInts to(device(), {49, 0, 7, 7, 12});
  device().Scatter(index.tensor(DType::kI32), values.tensor(DType::kI32), to.tensor(DType::kI32));
  EXPECT_EQ(to.Read(), (std::vector<std::int32_t>{9, 0, 7, -5, 12}));
}

INSTANTIATE_TEST_SUITE_P(Devices, MoveTest, testing::ValuesIn(TestedDevices()), DeviceName);

}  // namespace
}  // namespace thinkwire::worker::kernels

// In which order prompts are computed.

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "tests/worker/engine/reader.h"
#include "tests/worker/engine/reference.h"
#include "tests/worker/engine/stepper.h"
#include "worker/engine/prefill_order.h"
#include "worker/engine/scheduler.h"

namespace thinkwire::worker::engine {
namespace {

using Rows = std::vector<std::pair<std::int32_t, std::int32_t>>;

// By D, the plans in flight.
class PrefillOrderTest : public testing::TestWithParam<std::int32_t> {
 protected:
  PrefillOrderTest() {
    limits_.max_num_batched_tokens = 512;
    limits_.max_model_len = 8'192;
    limits_.num_blocks = 8'192;
  }

  step::Limits limits_ = MakeLimits(GetParam());
};

INSTANTIATE_TEST_SUITE_P(InFlight, PrefillOrderTest, testing::Values(1, 2),
                         testing::PrintToStringParamName());

TEST_P(PrefillOrderTest, AShortPromptIsInTheFirstPlanAfterItsArrival) {
  Stepper stepper(limits_);
  Reader long_reader;
  Reader short_reader;
  const Request long_request = MakeRequest(1, 8'000, 3);
  const Request short_request = MakeRequest(2, 20, 3);
  stepper.Add(long_request, long_reader);
  stepper.Submit();
  EXPECT_EQ(stepper.LastRows(), (Rows{{0, 512}}));
  stepper.Add(short_request, short_reader);
  if (GetParam() == 1) stepper.Collect();
  stepper.Submit();
  EXPECT_EQ(stepper.LastRows(), (Rows{{1, 20}, {0, 492}}));
  stepper.RunDry();
  long_reader.Take();
  short_reader.Take();
  ExpectTokens(long_reader.tokens(), Alone(stepper.model(), long_request, 3), true);
  ExpectTokens(short_reader.tokens(), Alone(stepper.model(), short_request, 3), true);
  stepper.ExpectIdle();
}

TEST_P(PrefillOrderTest, ShortPromptsThatKeepComingDoNotStarveALongOne) {
  constexpr std::int32_t kLong = 1'024;  // two steps
  constexpr int kSteps = kLong / 512;
  Stepper stepper(limits_);
  Reader long_reader;
  std::vector<Reader> readers(400);
  stepper.Add(MakeRequest(0, kLong, 1), long_reader);
  int steps = 0;
  for (; !long_reader.ending() && steps < 200; ++steps) {
    // Each step finds one more prompt than it can compute.
    for (std::uint64_t i = 0; i < 2; ++i) {
      const std::uint64_t seed = 1 + 2 * static_cast<std::uint64_t>(steps) + i;
      stepper.Add(MakeRequest(seed, 500, 1), readers[seed - 1]);
    }
    stepper.Turn();
    long_reader.Take();
  }
  EXPECT_GT(steps, 2 * kSteps) << "it was not overtaken at all";
  // What comes within kPatience times its own length, two prompts a step, and then itself.
  EXPECT_LE(steps, (2 * PrefillOrder::kPatience + 1) * kSteps + GetParam());
}

TEST_P(PrefillOrderTest, AQueuedShortPromptOvertakesALongOneForTheNextSlot) {
  limits_.max_num_seqs = 1;
  Stepper stepper(limits_);
  Reader running;
  Reader long_reader;
  Reader short_reader;
  const RequestHandle first = stepper.Add(MakeRequest(1, 4, 1'000), running);
  stepper.Turn();
  stepper.Add(MakeRequest(2, 2'000, 1), long_reader);
  stepper.Turn();
  stepper.Add(MakeRequest(3, 20, 10), short_reader);
  stepper.Turn();
  short_reader.Take();
  long_reader.Take();
  EXPECT_EQ(short_reader.queue_positions(), (std::vector<std::int32_t>{0}));
  stepper.scheduler().End(first, EndReason::kCancelled);
  while (!short_reader.started()) {
    ASSERT_TRUE(stepper.Turn());
    short_reader.Take();
  }
  long_reader.Take();
  EXPECT_FALSE(long_reader.started());
  stepper.RunDry();
  stepper.ExpectIdle();
}

TEST_P(PrefillOrderTest, APromptIsAsLongAsWhatTheCacheDoesNotHave) {
  limits_.max_num_batched_tokens = 64;
  Stepper stepper(limits_);
  Reader warm;
  stepper.Add(MakeRequest(1, 1'000, 1), warm);
  stepper.RunDry();
  Reader medium;
  Reader again;
  stepper.Add(MakeRequest(2, 100, 1), medium);
  stepper.Add(MakeRequest(1, 1'000, 1), again);  // all but its last block is there
  stepper.Submit();
  EXPECT_EQ(stepper.LastRows().front().second, 4);
  EXPECT_EQ(stepper.LastRows().back().second, 60);
}

TEST(PrefillOrder, WithoutPatienceItIsFirstComeFirstServed) {
  const PrefillOrder order{.patience = 0, .budget = 512};
  EXPECT_LT(order.Rank(100'000, 1), order.Rank(1, 2));
  EXPECT_EQ(order.Rank(100'000, 1), order.Rank(1, 1));
}

TEST(PrefillOrder, IsOvertakenWithinPatienceTimesItsOwnSteps) {
  const PrefillOrder order{.patience = 4, .budget = 512};
  const std::int64_t long_rank = order.Rank(8 * 512, 100);
  EXPECT_LT(order.Rank(1, 100 + 4 * 8 - 1), long_rank);
  EXPECT_GT(order.Rank(1, 100 + 4 * 8), long_rank);
}

}  // namespace
}  // namespace thinkwire::worker::engine

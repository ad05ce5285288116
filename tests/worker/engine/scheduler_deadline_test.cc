// Deadlines that leave no time to compute the prompt.

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>

#include "tests/worker/engine/reader.h"
#include "tests/worker/engine/reference.h"
#include "tests/worker/engine/stepper.h"
#include "worker/engine/prefill_pace.h"

namespace thinkwire::worker::engine {
namespace {

// A prompt of two full steps that takes a second each, and then what a deadline must leave.
class DeadlineTooSoonTest : public testing::TestWithParam<std::int32_t> {
 protected:
  static constexpr std::int32_t kBudget = 16;

  DeadlineTooSoonTest() {
    limits_.max_num_batched_tokens = kBudget;
    stepper_ = std::make_unique<Stepper>(limits_);
    Reader first;
    stepper_->Add(MakeRequest(1, 2 * kBudget, 1), first);
    while (stepper_->Submit()) {
    }
    while (stepper_->scheduler().steps_in_flight() > 0) {
      stepper_->clock().Advance(std::chrono::seconds(1));
      stepper_->Collect();
      stepper_->Submit();
    }
    first.Take();
    EXPECT_TRUE(first.ending());
  }

  // How a request of so many new prompt tokens ends that has so long.
  EndReason EndingOf(Request request, Clock::Duration left) {
    request.deadline = stepper_->clock().Now() + left;
    Reader reader;
    stepper_->Add(request, reader);
    stepper_->RunDry();
    reader.Take();
    EXPECT_TRUE(reader.ending());
    EXPECT_EQ(reader.started(), reader.ending()->reason == EndReason::kLength);
    stepper_->ExpectIdle();
    return reader.ending()->reason;
  }

  step::Limits limits_ = MakeLimits(GetParam());
  std::unique_ptr<Stepper> stepper_;
};

INSTANTIATE_TEST_SUITE_P(InFlight, DeadlineTooSoonTest, testing::Values(1, 2));

TEST_P(DeadlineTooSoonTest, EndsBeforeAnyWork) {
  const Request request = MakeRequest(2, 3 * kBudget, 1);
  const auto least = std::chrono::milliseconds(3000) / GetParam();
  const auto margin = std::chrono::milliseconds(10);
  EXPECT_EQ(EndingOf(request, least - margin), EndReason::kDeadlineTooSoon);
  EXPECT_EQ(EndingOf(request, least + margin), EndReason::kLength);
}

TEST_P(DeadlineTooSoonTest, CachedTokensTakeNoTime) {
  const Request seen = MakeRequest(1, 2 * kBudget, 1);
  const Request unseen = MakeRequest(2, 2 * kBudget, 1);
  const auto little = std::chrono::milliseconds(900) / GetParam();
  EXPECT_EQ(EndingOf(unseen, little), EndReason::kDeadlineTooSoon);
  EXPECT_EQ(EndingOf(seen, little), EndReason::kLength);
}

TEST_P(DeadlineTooSoonTest, IsForgottenAfterAWhile) {
  const Request request = MakeRequest(2, 3 * kBudget, 1);
  // The best of the steps came back up to a second ago.
  stepper_->clock().Advance(PrefillPace::kMemory - std::chrono::seconds(1));
  EXPECT_EQ(EndingOf(request, std::chrono::milliseconds(100)), EndReason::kDeadlineTooSoon);
  stepper_->clock().Advance(std::chrono::milliseconds(1001));
  EXPECT_EQ(EndingOf(request, std::chrono::milliseconds(100)), EndReason::kLength);
}

TEST_P(DeadlineTooSoonTest, HoldsUpNobodyBehindIt) {
  Request hopeless = MakeRequest(2, 3 * kBudget, 1);
  hopeless.deadline = stepper_->clock().Now() + std::chrono::milliseconds(100);
  Reader first;
  Reader second;
  stepper_->Add(hopeless, first);
  stepper_->Add(MakeRequest(3, 3, 2), second);
  stepper_->RunDry();
  second.Take();
  ASSERT_TRUE(second.ending());
  EXPECT_EQ(second.ending()->generated_tokens, 2);
}

}  // namespace
}  // namespace thinkwire::worker::engine

// Which tokens end a sequence.
#include <gtest/gtest.h>

#include "tests/worker/engine/stepper.h"
#include "worker/engine/scheduler.h"

namespace thinkwire::worker::engine {
namespace {

// By D, the plans in flight.
class SchedulerEndTest : public testing::TestWithParam<std::int32_t> {
 protected:
  step::Limits limits_ = MakeLimits(GetParam());

  bool ahead() const { return GetParam() == 2; }
};

INSTANTIATE_TEST_SUITE_P(InFlight, SchedulerEndTest, testing::Values(1, 2),
                         testing::PrintToStringParamName());

TEST_P(SchedulerEndTest, EndOfSequenceIsTheLastTokenAndWhatRanAheadIsDropped) {
  FakeModel model(kVocab);
  model.Script(1, 14, kEos);
  Stepper stepper(limits_, model);
  Reader reader;
  stepper.Add(MakeRequest(1, 10, 50), reader);
  stepper.RunDry();
  reader.Take();
  ASSERT_EQ(reader.tokens().size(), 5U);
  EXPECT_EQ(reader.tokens().back().id, kEos);
  EXPECT_EQ(reader.tokens().back().phase, step::Phase::kReasoning);
  EXPECT_EQ(reader.ending()->reason, EndReason::kEndOfSequence);
  EXPECT_EQ(reader.ending()->generated_tokens, 5);
  EXPECT_EQ(stepper.runner().submitted(), ahead() ? 6U : 5U);
  stepper.ExpectIdle();
}

TEST_P(SchedulerEndTest, IgnoredEndOfSequenceIsAToken) {
  FakeModel model(kVocab);
  model.Script(1, 14, kEos);
  Stepper stepper(limits_, model);
  Reader reader;
  Request request = MakeRequest(1, 10, 9);
  request.ignore_eos = true;
  stepper.Add(request, reader);
  stepper.RunDry();
  reader.Take();
  EXPECT_EQ(reader.tokens().size(), 9U);
  EXPECT_EQ(reader.ending()->reason, EndReason::kLength);
}

TEST_P(SchedulerEndTest, StopIdEndsInItsPhaseAloneAndWhatRanAheadIsDropped) {
  FakeModel model(kVocab);
  model.Script(1, 12, 7);  // an answer's stop id, while it reasons
  model.Script(1, 14, kThinkEnd);
  model.Script(1, 16, 8);  // a stop id of the reasoning, in the answer
  model.Script(1, 18, 7);
  Stepper stepper(limits_, model);
  Reader reader;
  Request request = MakeRequest(1, 10, 50);
  request.stop_ids = {std::vector<std::int32_t>{8}, {9, 7}};
  stepper.Add(request, reader);
  stepper.RunDry();
  reader.Take();
  ASSERT_EQ(reader.tokens().size(), 9U);
  EXPECT_EQ(reader.tokens().back().id, 7);
  EXPECT_EQ(reader.ending()->reason, EndReason::kStopId);
  EXPECT_EQ(reader.ending()->generated_tokens, 9);
  EXPECT_EQ(stepper.runner().submitted(), ahead() ? 10U : 9U);
  stepper.ExpectIdle();
}

TEST_P(SchedulerEndTest, EndOfSequenceIsAStopIdOnlyWhereItIsIgnored) {
  FakeModel model(kVocab);
  model.Script(1, 14, kEos);
  for (const bool ignored : {false, true}) {
    Stepper stepper(limits_, model);
    Reader reader;
    Request request = MakeRequest(1, 10, 50);
    request.stop_ids[step::Phase::kReasoning] = {kEos};
    request.ignore_eos = ignored;
    stepper.Add(request, reader);
    stepper.RunDry();
    reader.Take();
    EXPECT_EQ(reader.ending()->reason, ignored ? EndReason::kStopId : EndReason::kEndOfSequence);
  }
}

}  // namespace
}  // namespace thinkwire::worker::engine

// Scheduler: several outputs of one prompt. Blocks hold 4 tokens.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "tests/worker/engine/stepper.h"

namespace thinkwire::worker::engine {
namespace {

struct Kind {
  std::int32_t in_flight;
  bool caches;
};

// By D, the plans in flight, and by whether prefixes are cached.
class SchedulerOutputsTest : public testing::TestWithParam<Kind> {
 protected:
  Stepper Start(const FakeModel& model = FakeModel(kVocab)) const {
    return Stepper(limits_, model, GetParam().caches);
  }

  // What they draw, if `complete` to the end, is what each draws alone.
  static void Check(Stepper& stepper, const std::vector<Request>& outputs,
                    std::vector<Reader>& readers, bool complete = true) {
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      SCOPED_TRACE(testing::Message() << "output " << i);
      readers[i].Take();
      ExpectTokens(readers[i].tokens(), Alone(stepper.model(), outputs[i], *outputs[i].max_tokens),
                   complete);
    }
  }

  // Inputs at positions before `end`, of all plans.
  static std::int32_t InputsBefore(Stepper& stepper, std::int32_t end) {
    std::int32_t inputs = 0;
    for (const step::Plan& plan : stepper.runner().plans()) {
      for (const step::Row& row : plan.rows) {
        inputs += std::clamp(end - row.first_position, 0, row.count);
      }
    }
    return inputs;
  }

  step::Limits limits_ = MakeLimits(GetParam().in_flight);
};

INSTANTIATE_TEST_SUITE_P(Kinds, SchedulerOutputsTest,
                         testing::Values(Kind{1, true}, Kind{2, true}, Kind{1, false},
                                         Kind{2, false}),
                         [](const auto& info) {
                           return std::to_string(info.param.in_flight) +
                                  (info.param.caches ? "Caching" : "NotCaching");
                         });

TEST_P(SchedulerOutputsTest, ThePromptIsComputedOnceAndItsBlocksAreShared) {
  limits_.max_num_batched_tokens = 10;  // three steps of the prompt
  Stepper stepper = Start();
  std::vector<Reader> readers(4);
  const std::vector<Request> outputs = OutputsOf(MakeRequest(7, 30, 20), 4);
  stepper.AddTogether(outputs, readers);
  EXPECT_EQ(stepper.scheduler().queued(), 4);
  ASSERT_TRUE(stepper.Turn());
  EXPECT_EQ(stepper.scheduler().running(), 1);
  EXPECT_EQ(stepper.scheduler().queued(), 3);
  std::int32_t most_referenced = 0;
  while (stepper.Turn()) {
    most_referenced = std::max(most_referenced, stepper.scheduler().pool().referenced());
  }
  Check(stepper, outputs, readers);
  // Seven whole blocks of the prompt, and what is left of it to each.
  EXPECT_EQ(InputsBefore(stepper, 30), 30 + 3 * 2);
  EXPECT_EQ(readers[0].cached_prompt_tokens(), 0);
  EXPECT_EQ(readers[3].cached_prompt_tokens(), 28);
  // At 49 tokens each, of which the first 28 are everybody's.
  EXPECT_LE(most_referenced, 7 + 4 * 6);
  stepper.ExpectIdle();
}

// Whatever the order in which they end their reasoning, and then their answers, at whatever
// distance.
TEST_P(SchedulerOutputsTest, PhasesInterleaveInEveryOrder) {
  constexpr std::uint64_t kSeed = 7;
  constexpr std::int32_t kPrompt = 10;
  std::array<std::int32_t, 4> closed = {0, 1, 2, 3};
  do {
    std::array<std::int32_t, 4> ended = {0, 1, 2, 3};
    do {
      FakeModel model(kVocab);
      for (std::uint32_t i = 0; i < 4; ++i) {
        model.ScriptOutput(kSeed, i, kPrompt + 3 + closed[i], kThinkEnd);
        model.ScriptOutput(kSeed, i, kPrompt + 8 + ended[i], kEos);
      }
      Stepper stepper = Start(model);
      std::vector<Reader> readers(4);
      const std::vector<Request> outputs = OutputsOf(MakeRequest(kSeed, kPrompt, 40), 4);
      stepper.AddTogether(outputs, readers);
      stepper.RunDry();
      Check(stepper, outputs, readers);
      for (std::size_t i = 0; i < 4; ++i) {
        ASSERT_EQ(readers[i].tokens().size(), static_cast<std::size_t>(8 + ended[i] + 1));
        ASSERT_EQ(readers[i].ending()->reason, EndReason::kEndOfSequence);
      }
      stepper.ExpectIdle();
    } while (std::ranges::next_permutation(ended).found);
  } while (std::ranges::next_permutation(closed).found);
}

TEST_P(SchedulerOutputsTest, OutputsOfOneSeedDiffer) {
  Stepper stepper = Start();
  std::vector<Reader> readers(3);
  stepper.AddTogether(OutputsOf(MakeRequest(7, 10, 20), 3), readers);
  stepper.RunDry();
  for (Reader& reader : readers) reader.Take();
  EXPECT_NE(readers[0].tokens()[0].id, readers[1].tokens()[0].id);
  EXPECT_NE(readers[1].tokens()[0].id, readers[2].tokens()[0].id);
}

TEST_P(SchedulerOutputsTest, CancellingAllAtAnyMomentFreesAll) {
  limits_.max_num_batched_tokens = 10;
  for (int turns = 0; turns < 20; ++turns) {
    SCOPED_TRACE(testing::Message() << turns << " turns");
    Stepper stepper = Start();
    std::vector<Reader> readers(4);
    const std::vector<Request> outputs = OutputsOf(MakeRequest(7, 30, 20), 4);
    const std::vector<RequestHandle> handles = stepper.AddTogether(outputs, readers);
    for (int i = 0; i < turns; ++i) ASSERT_TRUE(stepper.Turn());
    for (const RequestHandle handle : handles) {
      stepper.scheduler().End(handle, EndReason::kCancelled);
      stepper.scheduler().CheckInvariants();
    }
    Check(stepper, outputs, readers, false);
    while (stepper.Turn()) {
    }
    stepper.ExpectIdle();
  }
}

// Who computes the prompt may go at any moment: the next one goes on from what is cached of it.
TEST_P(SchedulerOutputsTest, TheOthersGoOnWithoutTheFirst) {
  limits_.max_num_batched_tokens = 10;
  for (int turns = 0; turns < 8; ++turns) {
    SCOPED_TRACE(testing::Message() << turns << " turns");
    Stepper stepper = Start();
    std::vector<Reader> readers(3);
    const std::vector<Request> outputs = OutputsOf(MakeRequest(7, 30, 20), 3);
    const std::vector<RequestHandle> handles = stepper.AddTogether(outputs, readers);
    for (int i = 0; i < turns; ++i) ASSERT_TRUE(stepper.Turn());
    stepper.scheduler().End(handles[0], EndReason::kCancelled);
    stepper.RunDry();
    for (std::size_t i : {1, 2}) {
      readers[i].Take();
      ExpectTokens(readers[i].tokens(), Alone(stepper.model(), outputs[i], 20), true);
    }
    // Each block of the prompt once, or the one that was in hand twice.
    EXPECT_LE(InputsBefore(stepper, 30), 30 + 10 + 2 * 4);
    stepper.ExpectIdle();
  }
}

TEST_P(SchedulerOutputsTest, WhoIsHeldBackCanBeCancelledOrPassItsDeadline) {
  limits_.max_num_batched_tokens = 10;
  Stepper stepper = Start();
  std::vector<Reader> readers(4);
  std::vector<Request> outputs = OutputsOf(MakeRequest(7, 30, 20), 4);
  outputs[2].deadline = stepper.clock().Now() + std::chrono::seconds(1);
  const std::vector<RequestHandle> handles = stepper.AddTogether(outputs, readers);
  ASSERT_TRUE(stepper.Turn());
  stepper.scheduler().End(handles[1], EndReason::kCancelled);
  stepper.clock().Advance(std::chrono::seconds(1));
  stepper.RunDry();
  for (Reader& reader : readers) reader.Take();
  EXPECT_EQ(readers[1].ending()->reason, EndReason::kCancelled);
  EXPECT_EQ(readers[2].ending()->reason, EndReason::kDeadline);
  ExpectTokens(readers[3].tokens(), Alone(stepper.model(), outputs[3], 20), true);
  stepper.ExpectIdle();
}

TEST_P(SchedulerOutputsTest, OthersNeedNotWaitForThoseHeldBack) {
  limits_.max_num_batched_tokens = 10;
  limits_.max_num_seqs = 2;
  Stepper stepper = Start();
  std::vector<Reader> readers(3);
  const std::vector<Request> outputs = OutputsOf(MakeRequest(7, 60, 20), 3);
  stepper.AddTogether(outputs, readers);
  ASSERT_TRUE(stepper.Turn());
  Reader other;
  stepper.Add(MakeRequest(8, 5, 2), other);
  while (!other.ending()) {
    ASSERT_TRUE(stepper.Turn());
    other.Take();
  }
  EXPECT_LT(InputsBefore(stepper, 60), 60 + 5) << "the long prompt is not computed yet";
  stepper.RunDry();
  Check(stepper, outputs, readers);
  stepper.ExpectIdle();
}

// Each grows to more than a third of all blocks.
TEST_P(SchedulerOutputsTest, LittleMemoryChangesNoText) {
  limits_.num_blocks = 24;
  limits_.max_num_batched_tokens = 16;
  Stepper stepper = Start();
  std::vector<Reader> readers(6);
  const std::vector<Request> outputs = OutputsOf(MakeRequest(7, 18, 40), 6);
  stepper.AddTogether(outputs, readers);
  stepper.RunDry();
  Check(stepper, outputs, readers);
  EXPECT_GT(stepper.scheduler().preemptions(), 0U);
  stepper.ExpectIdle();
}

TEST_P(SchedulerOutputsTest, MoreOutputsThanSlotsTakeTurns) {
  limits_.max_num_seqs = 3;
  Stepper stepper = Start();
  std::vector<Reader> readers(64);
  const std::vector<Request> outputs = OutputsOf(MakeRequest(7, 30, 5), 64);
  stepper.AddTogether(outputs, readers);
  stepper.RunDry();
  Check(stepper, outputs, readers);
  EXPECT_EQ(InputsBefore(stepper, 30), 30 + 63 * 2);
  stepper.ExpectIdle();
}

TEST_P(SchedulerOutputsTest, APromptWithoutAWholeBlockHoldsNobodyBack) {
  Stepper stepper = Start();
  std::vector<Reader> readers(3);
  const std::vector<Request> outputs = OutputsOf(MakeRequest(7, 4, 5), 3);
  stepper.AddTogether(outputs, readers);
  ASSERT_TRUE(stepper.Submit());
  EXPECT_EQ(stepper.LastRows().size(), 3U);
  stepper.RunDry();
  Check(stepper, outputs, readers);
}

// An earlier worker had drawn some of each; the third has all but nothing yet.
TEST_P(SchedulerOutputsTest, OutputsGoOnFromWhereTheyWere) {
  Stepper stepper = Start();
  std::vector<Reader> readers(3);
  std::vector<Request> outputs = OutputsOf(MakeRequest(7, 30, 20), 3);
  for (std::size_t i = 0; i < 2; ++i) {
    const Output alone = Alone(stepper.model(), outputs[i], 20);
    for (std::size_t k = 0; k < 6 * (i + 1); ++k) {
      outputs[i].drawn_ids.push_back(alone.tokens[k].id);
    }
  }
  stepper.AddTogether(outputs, readers);
  stepper.RunDry();
  for (std::size_t i = 0; i < 3; ++i) {
    readers[i].Take();
    Output rest = Alone(stepper.model(), outputs[i], 20);
    rest.tokens.erase(rest.tokens.begin(), rest.tokens.begin() + std::ssize(outputs[i].drawn_ids));
    ExpectTokens(readers[i].tokens(), rest, true);
  }
  EXPECT_EQ(InputsBefore(stepper, 30), 30 + 2 * 2);
  stepper.ExpectIdle();
}

TEST_P(SchedulerOutputsTest, WithoutACacheNothingStaysForTheNext) {
  Stepper stepper = Start();
  for (int round = 0; round < 2; ++round) {
    std::vector<Reader> readers(2);
    const std::vector<Request> outputs = OutputsOf(MakeRequest(7, 30, 5), 2);
    stepper.AddTogether(outputs, readers);
    stepper.RunDry();
    Check(stepper, outputs, readers);
    EXPECT_EQ(readers[0].cached_prompt_tokens(), GetParam().caches && round > 0 ? 28 : 0);
  }
  if (!GetParam().caches) {
    EXPECT_EQ(stepper.scheduler().pool().kept(), 0);
    EXPECT_EQ(stepper.scheduler().prefix_use().queries, 0U);
  }
}

// Two prompts that are equal, of two requests at once.
TEST_P(SchedulerOutputsTest, WithoutACacheRequestsShareNothing) {
  Stepper stepper = Start();
  std::vector<Reader> first(2);
  std::vector<Reader> second(2);
  const std::vector<Request> outputs = OutputsOf(MakeRequest(7, 30, 9), 2);
  stepper.AddTogether(outputs, first);
  ASSERT_TRUE(stepper.Turn());
  stepper.AddTogether(outputs, second);
  stepper.RunDry();
  Check(stepper, outputs, first);
  Check(stepper, outputs, second);
  EXPECT_EQ(second[0].cached_prompt_tokens(), GetParam().caches ? 28 : 0);
  EXPECT_EQ(second[1].cached_prompt_tokens(), 28);
}

// Its reader has no room for what is forced at its start, so that it gives way to whoever waits.
TEST_P(SchedulerOutputsTest, AReaderWhoIsBehindDoesNotHoldUpTheOthers) {
  limits_.max_num_seqs = 1;
  limits_.max_num_batched_tokens = 10;
  Stepper stepper = Start();
  std::vector<Request> outputs = OutputsOf(MakeRequest(7, 30, 20), 2);
  std::vector<Reader> readers;
  readers.emplace_back(1);
  readers.emplace_back();
  const std::vector<RequestHandle> handles = stepper.AddTogether(outputs, readers);
  ASSERT_TRUE(stepper.Turn());
  const std::vector<std::int32_t> forced = {60};
  stepper.scheduler().Force(handles[0], forced, TokenOrigin::kLoop);
  Reader other;
  stepper.Add(MakeRequest(8, 5, 2), other);
  while (!readers[1].ending()) {
    ASSERT_TRUE(stepper.Turn());
    readers[1].Take();
  }
  EXPECT_EQ(stepper.scheduler().parked(), 1);
  ExpectTokens(readers[1].tokens(), Alone(stepper.model(), outputs[1], 20), true);
  while (!readers[0].ending()) {
    readers[0].Take();
    stepper.Turn();
  }
  ExpectTokens(readers[0].tokens(),
               Alone(stepper.model(), outputs[0], 20, {{0, {60, TokenOrigin::kLoop}}}), true);
  stepper.RunDry();
  stepper.ExpectIdle();
}

}  // namespace
}  // namespace thinkwire::worker::engine

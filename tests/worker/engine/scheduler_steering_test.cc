// Scheduler: ids that were not drawn, ids taken back, ids proposed.
#include <gtest/gtest.h>

#include "tests/worker/engine/stepper.h"
#include "worker/engine/scheduler.h"

namespace thinkwire::worker::engine {
namespace {

constexpr std::int32_t kPrompt = 10;  // tokens

// By D, the plans in flight.
class SchedulerSteeringTest : public testing::TestWithParam<std::int32_t> {
 protected:
  // Runs `request` until it has drawn `tokens`, with as much in flight as may be.
  void Begin(const Request& request, std::size_t tokens, std::size_t capacity = 1 << 16) {
    request_ = request;
    stepper_.runner().AllowGoingBack();
    reader_ = std::make_unique<Reader>(capacity);
    handle_ = stepper_.Add(request_, *reader_);
    for (Drain(); reader_->tokens().size() < tokens; Drain()) stepper_.Turn();
    while (stepper_.Submit()) {
    }
  }

  void Drain() { reader_->Take(); }

  void Force(const std::vector<std::int32_t>& ids, TokenOrigin origin = TokenOrigin::kBudget) {
    Drain();
    std::size_t index = reader_->tokens().size();
    for (const std::int32_t id : ids) forced_[index++] = {.id = id, .origin = origin};
    stepper_.scheduler().Force(handle_, ids, origin);
    stepper_.scheduler().CheckInvariants();
  }

  void Rewind(std::int32_t generated) {
    stepper_.scheduler().Rewind(handle_, kPrompt + generated);
    stepper_.scheduler().CheckInvariants();
  }

  // Rewind, and waits until what is passed over has come.
  void GoBack(std::int32_t generated) {
    Rewind(generated);
    while (stepper_.scheduler().steps_in_flight() > 0) stepper_.Collect();
  }

  Output Expected() {
    return Alone(stepper_.model(), request_, request_.max_tokens.value(), forced_);
  }

  // Runs to the end; everything given to the stream is what is expected.
  void ExpectAll() {
    stepper_.RunDry();
    Drain();
    const Output expected = Expected();
    ExpectTokens(reader_->tokens(), expected, true);
    ASSERT_TRUE(reader_->ending());
    EXPECT_EQ(reader_->ending()->reason, expected.reason);
    stepper_.ExpectIdle();
  }

  // Some ids of the text that is expected.
  std::vector<std::int32_t> Text(std::size_t begin, std::size_t count) {
    std::vector<std::int32_t> ids;
    const Output expected = Expected();
    for (std::size_t i = begin; i < begin + count; ++i) ids.push_back(expected.tokens.at(i).id);
    return ids;
  }

  int PlansWith(const auto& matches) {
    int plans = 0;
    for (const step::Plan& plan : stepper_.runner().plans()) {
      plans += std::ranges::any_of(plan.rows, matches) ? 1 : 0;
    }
    return plans;
  }

  Stepper stepper_{MakeLimits(GetParam())};
  Request request_;
  std::unique_ptr<Reader> reader_;
  RequestHandle handle_ = 0;
  Forced forced_;
};

INSTANTIATE_TEST_SUITE_P(InFlight, SchedulerSteeringTest, testing::Values(1, 2),
                         testing::PrintToStringParamName());

TEST_P(SchedulerSteeringTest, ForcedIdsStandInTheTextAndAreComputedInOneRow) {
  Begin(MakeRequest(1, kPrompt, 40), 7);
  Force({11, 12, 13}, TokenOrigin::kLoop);
  Drain();
  EXPECT_EQ(reader_->tokens().size(), 10U);
  EXPECT_EQ(reader_->tokens().back().origin, TokenOrigin::kLoop);
  ExpectAll();
  // The step in flight had the last drawn id as its input.
  EXPECT_EQ(PlansWith([](const step::Row& row) {
              return row.count == 3 && row.draws == 1 && row.first_position > kPrompt;
            }),
            1);
}

TEST_P(SchedulerSteeringTest, WhatIsBeingDrawnIsPassedOver) {
  Begin(MakeRequest(1, kPrompt, 40), 7);
  EXPECT_EQ(stepper_.scheduler().steps_in_flight(), GetParam());
  Force({11});
  Force({12});
  Rewind(9);  // nothing more than what is in flight
  ExpectAll();
}

TEST_P(SchedulerSteeringTest, ForcedClosingTurnsToTheAnswer) {
  Request request = MakeRequest(1, kPrompt, 40);
  request.sampling.phases[step::Phase::kAnswer].presence_penalty = 1;
  Begin(request, 7);
  Force({11, kThinkEnd, 12});
  Drain();
  EXPECT_EQ(reader_->tokens()[8].mark, TokenMark::kClosesReasoning);
  EXPECT_EQ(reader_->tokens()[9].phase, step::Phase::kAnswer);
  ExpectAll();
}

TEST_P(SchedulerSteeringTest, PenaltiesCountWhatWasForcedAndNotWhatWasPassedOver) {
  Request request = MakeRequest(1, kPrompt, 40);
  for (step::PhaseSampling& phase : request.sampling.phases) {
    phase.repetition_penalty = 1.5F;
    phase.frequency_penalty = 0.5F;
  }
  Begin(request, 7);
  Force({11, 11});
  ExpectAll();
}

TEST_P(SchedulerSteeringTest, AForcedIdMayEndTheOutput) {
  Begin(MakeRequest(1, kPrompt, 40), 7);
  Force({11, kEos, 12});
  ExpectAll();
  EXPECT_EQ(reader_->tokens().size(), 9U);
  EXPECT_EQ(reader_->tokens().back().mark, TokenMark::kEndsOutput);
}

TEST_P(SchedulerSteeringTest, ForcedIdsCountTowardsMaxTokens) {
  Begin(MakeRequest(1, kPrompt, 10), 7);
  Force({11, 12, 13, 14, 15, 16});
  ExpectAll();
  EXPECT_EQ(reader_->tokens().size(), 10U);
}

TEST_P(SchedulerSteeringTest, ForcedIdsMayOverfillTheStreamButNothingIsDrawnThen) {
  Begin(MakeRequest(1, kPrompt, 40), 4, 4);
  Force({11, 12, 13, 14, 15, 16});
  stepper_.RunDry();
  Drain();
  EXPECT_EQ(reader_->tokens().size(), 10U);
  for (int turn = 0; turn < 200 && !reader_->ending(); ++turn) {
    stepper_.RunDry();
    Drain();
  }
  ExpectAll();
}

TEST_P(SchedulerSteeringTest, WhoHasEndedOrIsUnknownIsNotSteered) {
  Begin(MakeRequest(1, kPrompt, 8), 4);
  stepper_.RunDry();
  stepper_.scheduler().Force(handle_, std::vector<std::int32_t>{11}, TokenOrigin::kBudget);
  stepper_.scheduler().Rewind(handle_, kPrompt);
  stepper_.scheduler().Propose(handle_, {11});
  stepper_.scheduler().Rewind(1000, 1);
  ExpectAll();
}

TEST_P(SchedulerSteeringTest, AQueuedSequenceIsToldBeforeItRuns) {
  request_ = MakeRequest(1, kPrompt, 20);
  reader_ = std::make_unique<Reader>();
  handle_ = stepper_.Add(request_, *reader_);
  Force({11, 12});
  ExpectAll();
}

TEST_P(SchedulerSteeringTest, WhatIsTakenBackIsDrawnTheSameAgain) {
  Request request = MakeRequest(1, kPrompt, 40);
  request.sampling.phases[step::Phase::kReasoning].repetition_penalty = 1.5F;
  Begin(request, 20);
  Drain();
  const std::size_t before = reader_->tokens().size();
  Rewind(3);
  stepper_.RunDry();
  Drain();
  const Output expected = Expected();
  const std::vector<Token>& tokens = reader_->tokens();
  ASSERT_EQ(tokens.size(), before + 37);
  ExpectTokens({tokens.begin(), tokens.begin() + 20}, expected, false);
  std::vector<Token> again(expected.tokens.begin(), expected.tokens.begin() + 3);
  again.insert(again.end(), tokens.begin() + static_cast<std::ptrdiff_t>(before), tokens.end());
  ExpectTokens(again, expected, true);
  EXPECT_EQ(reader_->ending()->generated_tokens, 40);
}

TEST_P(SchedulerSteeringTest, GoingBackBehindTheClosingReasonsAgain) {
  Begin(MakeRequest(1, kPrompt, 30), 5);
  Force({kThinkEnd, 11, 12});
  Drain();
  Rewind(5);
  forced_.clear();
  forced_[5] = {.id = 13, .origin = TokenOrigin::kLoop};
  stepper_.scheduler().Force(handle_, std::vector<std::int32_t>{13}, TokenOrigin::kLoop);
  const std::size_t given = reader_->tokens().size();
  stepper_.RunDry();
  Drain();
  const Output expected = Expected();
  for (std::size_t i = 5; i < 30; ++i) {
    const Token& token = reader_->tokens().at(given + i - 5);
    ASSERT_EQ(token.id, expected.tokens[i].id) << i;
    ASSERT_EQ(token.phase, step::Phase::kReasoning) << i;
  }
}

// Another request that begins with the text as it was, or as it became, finds what belongs to it.
TEST_P(SchedulerSteeringTest, ThePrefixCacheHoldsNothingThatWasTakenBack) {
  Begin(MakeRequest(1, kPrompt, 40), 20);
  const std::vector<std::int32_t> drawn = Text(0, 20);
  Rewind(4);
  stepper_.scheduler().Force(handle_, std::vector<std::int32_t>(12, 11), TokenOrigin::kLoop);
  std::vector<std::int32_t> forced(drawn.begin(), drawn.begin() + 4);
  forced.insert(forced.end(), 12, 11);
  stepper_.RunDry();
  for (const std::vector<std::int32_t>& text : {drawn, forced}) {
    Request request = MakeRequest(2, kPrompt, 20);
    request.prompt_ids = request_.prompt_ids;
    request.prompt_ids.insert(request.prompt_ids.end(), text.begin(), text.end());
    Reader reader;
    stepper_.Add(request, reader);
    stepper_.RunDry();
    reader.Take();
    EXPECT_GT(reader.cached_prompt_tokens(), kPrompt);
    ExpectTokens(reader.tokens(), Alone(stepper_.model(), request, 20), true);
  }
}

TEST_P(SchedulerSteeringTest, ProposedIdsThatStandAreDrawnInOneRow) {
  Begin(MakeRequest(1, kPrompt, 40), 5);
  GoBack(5);
  stepper_.scheduler().Propose(handle_, Text(5, 4));
  stepper_.Submit();
  EXPECT_FALSE(stepper_.Submit()) << "which position is next is not known yet";
  stepper_.Collect();
  Drain();
  EXPECT_EQ(reader_->tokens().size(), 10U);
  ExpectAll();
}

TEST_P(SchedulerSteeringTest, ProposalsLeaveEverySlotADraw) {
  const step::Limits limits = MakeLimits(GetParam());
  Begin(MakeRequest(1, kPrompt, 40), 5);
  GoBack(5);
  stepper_.scheduler().Propose(handle_, Text(5, 30));
  stepper_.Submit();
  EXPECT_EQ(stepper_.runner().plans().back().rows[0].draws,
            1 + limits.max_draws - limits.max_num_seqs);
  ExpectAll();
}

TEST_P(SchedulerSteeringTest, WhatFollowsAWrongProposalIsDrawnAnew) {
  Begin(MakeRequest(1, kPrompt, 40), 5);
  GoBack(5);
  std::vector<std::int32_t> proposed = Text(5, 6);
  proposed[2] = 11;
  stepper_.scheduler().Propose(handle_, proposed);
  stepper_.Submit();
  stepper_.Collect();
  Drain();
  EXPECT_EQ(reader_->tokens().size(), 8U);  // two that stand, and what follows them
  ExpectAll();
}

TEST_P(SchedulerSteeringTest, AnEndAmongSeveralDrawsIsTheEnd) {
  Request request = MakeRequest(1, kPrompt, 40);
  const Output alone = Alone(stepper_.model(), request, 40);
  request.stop_ids[step::Phase::kReasoning] = {alone.tokens[7].id};
  Begin(request, 5);
  GoBack(5);
  std::vector<std::int32_t> proposed;
  for (std::size_t i = 5; i < 10; ++i) proposed.push_back(alone.tokens[i].id);
  stepper_.scheduler().Propose(handle_, proposed);
  ExpectAll();
  EXPECT_EQ(reader_->tokens().size(), 8U);
  EXPECT_EQ(reader_->tokens().back().mark, TokenMark::kEndsOutput);
}

TEST_P(SchedulerSteeringTest, ProposalsStayWithinTheTokenLimitAndTheStreamsRoom) {
  Begin(MakeRequest(1, kPrompt, 8), 5);
  GoBack(5);
  stepper_.scheduler().Propose(handle_, Text(5, 3));
  ExpectAll();
  EXPECT_EQ(PlansWith([](const step::Row& row) { return row.draws == 3; }), 1);
}

TEST_P(SchedulerSteeringTest, ARowThatGivesNothingIsComputedAgain) {
  int withheld = 0;
  stepper_.runner().Withhold([&withheld] { return ++withheld % 3 == 0 ? 1 : 0; });
  Request request = MakeRequest(1, kPrompt, 40);
  request.sampling.phases[step::Phase::kReasoning].presence_penalty = 0.5F;
  Begin(request, 0);
  ExpectAll();
  EXPECT_GT(withheld, 50);
}

}  // namespace
}  // namespace thinkwire::worker::engine

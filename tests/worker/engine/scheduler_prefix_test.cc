// Scheduler: sequences that begin alike. Blocks hold 4 tokens.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/worker/engine/stepper.h"

namespace thinkwire::worker::engine {
namespace {

using Ids = std::vector<std::int32_t>;

// By D, the plans in flight.
class SchedulerPrefixTest : public testing::TestWithParam<std::int32_t> {
 protected:
  step::Limits limits_ = MakeLimits(GetParam());

  bool ahead() const { return GetParam() == 2; }

  // Runs `request` to its end and compares it with what it draws alone.
  static Ids Run(Stepper& stepper, const Request& request, Reader& reader) {
    stepper.Add(request, reader);
    stepper.RunDry();
    return Check(stepper, request, reader);
  }
  static Ids Check(Stepper& stepper, const Request& request, Reader& reader) {
    reader.Take();
    ExpectTokens(reader.tokens(), Alone(stepper.model(), request, *request.max_tokens), true);
    Ids ids;
    for (const Token& token : reader.tokens()) ids.push_back(token.id);
    return ids;
  }
};

INSTANTIATE_TEST_SUITE_P(InFlight, SchedulerPrefixTest, testing::Values(1, 2),
                         testing::PrintToStringParamName());

// Another seed with the prompt of MakeRequest(1, …).
Request SamePrompt(std::uint64_t seed, std::int32_t prompt_tokens, std::int32_t max_tokens) {
  Request request = MakeRequest(1, prompt_tokens, max_tokens);
  request.sampling.seed = seed;
  return request;
}

TEST_P(SchedulerPrefixTest, OnlyWhatIsNotCachedIsComputed) {
  Stepper stepper(limits_);
  Reader first;
  Reader second;
  Run(stepper, MakeRequest(1, 10, 1), first);
  Run(stepper, SamePrompt(2, 10, 1), second);
  EXPECT_EQ(first.cached_prompt_tokens(), 0);
  EXPECT_EQ(second.cached_prompt_tokens(), 8);
  const step::Plan plan = stepper.runner().plans().back();
  EXPECT_EQ(plan.rows[0].first_position, 8);
  EXPECT_EQ(plan.rows[0].count, 2);
  const PrefixUse& use = stepper.scheduler().prefix_use();
  EXPECT_EQ(use.queries, 2U);
  EXPECT_EQ(use.hits, 1U);
  EXPECT_EQ(use.query_tokens, 20U);
  EXPECT_EQ(use.hit_tokens, 8U);
  stepper.ExpectIdle();
}

TEST_P(SchedulerPrefixTest, TheLastTokenOfAPromptIsAlwaysComputed) {
  Stepper stepper(limits_);
  Reader first;
  Reader second;
  Reader third;
  Run(stepper, MakeRequest(1, 8, 1), first);
  Run(stepper, SamePrompt(2, 8, 1), second);
  EXPECT_EQ(second.cached_prompt_tokens(), 4);
  Run(stepper, SamePrompt(3, 9, 1), third);
  EXPECT_EQ(third.cached_prompt_tokens(), 8);
}

TEST_P(SchedulerPrefixTest, DrawnTokensAreFoundByTheNextTurn) {
  Stepper stepper(limits_);
  Request request = MakeRequest(1, 10, 13);
  std::int32_t cached = 0;
  for (std::uint64_t turn = 0; turn < 4; ++turn) {
    Reader reader;
    request.sampling.seed = turn;
    const Ids drawn = Run(stepper, request, reader);
    EXPECT_EQ(reader.cached_prompt_tokens(), cached) << "turn " << turn;
    request.prompt_ids.insert(request.prompt_ids.end(), drawn.begin(), drawn.end());
    // The last token drawn was not computed.
    cached = static_cast<std::int32_t>((request.prompt_ids.size() - 1) / 4 * 4);
    request.prompt_ids.insert(request.prompt_ids.end(), {60, 61, 62});
  }
}

TEST_P(SchedulerPrefixTest, SaltsDoNotShare) {
  Stepper stepper(limits_);
  std::vector<std::int32_t> cached;
  for (const char* salt : {"", "a", "b", "a", ""}) {
    Reader reader;
    Request request = MakeRequest(1, 10, 2);
    request.cache_salt = salt;
    Run(stepper, request, reader);
    cached.push_back(reader.cached_prompt_tokens());
  }
  EXPECT_EQ(cached, (std::vector<std::int32_t>{0, 0, 0, 8, 8}));
}

TEST_P(SchedulerPrefixTest, WithoutItNothingIsFoundOrKept) {
  Stepper stepper(limits_, FakeModel(kVocab), false);
  Reader first;
  Reader second;
  Run(stepper, MakeRequest(1, 10, 6), first);
  Run(stepper, MakeRequest(1, 10, 6), second);
  EXPECT_EQ(second.cached_prompt_tokens(), 0);
  EXPECT_EQ(stepper.scheduler().pool().kept(), 0);
  EXPECT_EQ(stepper.scheduler().prefix_use().queries, 0U);
}

TEST_P(SchedulerPrefixTest, EqualPromptsInOnePlanComputeAloneAndShareAfterwards) {
  Stepper stepper(limits_);
  std::vector<Reader> readers(3);
  for (std::uint64_t i = 0; i < 3; ++i) stepper.Add(SamePrompt(i, 10, 20), readers[i]);
  ASSERT_TRUE(stepper.Submit());
  EXPECT_EQ(stepper.LastRows(),
            (std::vector<std::pair<std::int32_t, std::int32_t>>{{0, 10}, {1, 10}, {2, 10}}));
  stepper.Collect();
  EXPECT_EQ(stepper.scheduler().pool().referenced(), 2 + 3);
  ASSERT_TRUE(stepper.Submit());
  stepper.RunDry();
  for (std::uint64_t i = 0; i < 3; ++i) Check(stepper, SamePrompt(i, 10, 20), readers[i]);
  stepper.ExpectIdle();
}

TEST_P(SchedulerPrefixTest, EqualSequencesShareWhatTheyDraw) {
  Stepper stepper(limits_);
  std::vector<Reader> readers(3);
  const Request request = MakeRequest(1, 10, 40);
  for (Reader& reader : readers) stepper.Add(request, reader);
  while (readers[0].tokens().size() < 30) {
    ASSERT_TRUE(stepper.Turn());
    readers[0].Take();
  }
  // 39 or 40 tokens are computed: 9 full blocks shared, one more each, and what is being given up.
  EXPECT_LE(stepper.scheduler().pool().referenced(), 10 + 3 + 2);
  stepper.RunDry();
  for (Reader& reader : readers) Check(stepper, request, reader);
  stepper.ExpectIdle();
}

TEST_P(SchedulerPrefixTest, TheNextPlanReadsWhatIsStillInFlight) {
  Stepper stepper(limits_);
  Reader first;
  Reader second;
  stepper.Add(MakeRequest(1, 10, 20), first);
  ASSERT_TRUE(stepper.Submit());
  stepper.Add(SamePrompt(2, 10, 20), second);
  if (!ahead()) stepper.Collect();
  ASSERT_TRUE(stepper.Submit());
  second.Take();
  EXPECT_EQ(second.cached_prompt_tokens(), 8);
  stepper.RunDry();
  Check(stepper, MakeRequest(1, 10, 20), first);
  Check(stepper, SamePrompt(2, 10, 20), second);
}

TEST_P(SchedulerPrefixTest, ChunksAreFoundWhileThePromptGoesOn) {
  limits_.max_num_batched_tokens = 6;
  Stepper stepper(limits_);
  Reader first;
  Reader second;
  stepper.Add(MakeRequest(1, 30, 1), first);
  stepper.Turn();
  stepper.Turn();
  stepper.Add(SamePrompt(2, 30, 1), second);
  stepper.RunDry();
  Check(stepper, MakeRequest(1, 30, 1), first);
  Check(stepper, SamePrompt(2, 30, 1), second);
  EXPECT_GE(second.cached_prompt_tokens(), 12);
}

// The end of sequence fills its block: it is an input only of a step that ran ahead.
TEST_P(SchedulerPrefixTest, EndOfSequenceAtABorderOfBlocksIsCachedIfComputed) {
  FakeModel model(kVocab);
  model.Script(1, 7, kEos);
  Stepper stepper(limits_, model);
  Reader first;
  Request request = MakeRequest(1, 5, 20);
  const Ids drawn = Run(stepper, request, first);
  ASSERT_EQ(drawn.size(), 3U);
  request.prompt_ids.insert(request.prompt_ids.end(), drawn.begin(), drawn.end());
  request.prompt_ids.push_back(70);
  request.sampling.seed = 2;
  Reader second;
  Run(stepper, request, second);
  EXPECT_EQ(second.cached_prompt_tokens(), ahead() ? 8 : 4);
}

// What was drawn after the end, and dropped, would have filled the block.
TEST_P(SchedulerPrefixTest, DroppedTokensAreNotCached) {
  FakeModel model(kVocab);
  model.Script(1, 6, kEos);
  Stepper stepper(limits_, model);
  Reader first;
  Request request = MakeRequest(1, 5, 20);
  Run(stepper, request, first);
  EXPECT_EQ(stepper.scheduler().pool().kept(), 1);
}

TEST_P(SchedulerPrefixTest, CancelledSequencesLeaveWhatTheyComputed) {
  Stepper stepper(limits_);
  Reader cancelled;
  const RequestHandle handle = stepper.Add(MakeRequest(1, 10, 50), cancelled);
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(stepper.Turn());
  cancelled.Take();
  Request request = MakeRequest(1, 10, 5);
  for (const Token& token : cancelled.tokens()) request.prompt_ids.push_back(token.id);
  stepper.scheduler().End(handle, EndReason::kCancelled);
  stepper.RunDry();
  EXPECT_EQ(stepper.scheduler().pool().kept(), 4);
  Reader reader;
  Run(stepper, request, reader);
  EXPECT_EQ(request.prompt_ids.size(), 18U);
  EXPECT_EQ(reader.cached_prompt_tokens(), 16);
}

TEST_P(SchedulerPrefixTest, CachedBlocksLeaveForNewOnes) {
  limits_.num_blocks = 6;
  Stepper stepper(limits_);
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    Reader reader;
    Run(stepper, MakeRequest(seed, 20, 4), reader);
    EXPECT_EQ(reader.cached_prompt_tokens(), 0);
  }
  EXPECT_EQ(stepper.scheduler().pool().kept(), 5);
  Reader gone;
  Run(stepper, MakeRequest(1, 20, 4), gone);
  EXPECT_EQ(gone.cached_prompt_tokens(), 0);
}

TEST_P(SchedulerPrefixTest, SharedBlocksAreAdmittedOnce) {
  limits_.num_blocks = 14;  // one sequence needs 11, a second 2 more
  Stepper stepper(limits_);
  Reader first;
  Reader second;
  stepper.Add(SamePrompt(1, 40, 4), first);
  stepper.Turn();
  stepper.Add(SamePrompt(2, 40, 4), second);
  stepper.Turn();
  EXPECT_EQ(stepper.scheduler().running(), 2);
  stepper.RunDry();
  Check(stepper, SamePrompt(1, 40, 4), first);
  Check(stepper, SamePrompt(2, 40, 4), second);
  EXPECT_EQ(second.cached_prompt_tokens(), 36);
  EXPECT_EQ(stepper.scheduler().preemptions(), 0U);
}

TEST_P(SchedulerPrefixTest, PreemptedSequencesTakeBackWhatSurvived) {
  limits_.num_blocks = 13;  // two sequences need 12 at their ends
  Stepper stepper(limits_);
  std::vector<Reader> readers(3);
  for (std::uint64_t i = 0; i < 3; ++i) stepper.Add(MakeRequest(i, 4, 20), readers[i]);
  stepper.RunDry();
  for (std::uint64_t i = 0; i < 3; ++i) Check(stepper, MakeRequest(i, 4, 20), readers[i]);
  ASSERT_GE(readers[2].ending()->preemptions, 1);
  EXPECT_EQ(readers[2].cached_prompt_tokens(), 0);  // of the first admission
  EXPECT_GE(stepper.scheduler().prefix_use().hits, 1U);
  stepper.ExpectIdle();
}

TEST_P(SchedulerPrefixTest, WhatLedToANanIsComputedAnew) {
  FakeModel model(kVocab);
  model.ScriptNotFinite(1, 12);
  Stepper stepper(limits_, model);
  Reader good;
  Run(stepper, SamePrompt(2, 10, 1), good);
  Reader broken;
  stepper.Add(MakeRequest(1, 10, 20), broken);
  stepper.RunDry();
  broken.Take();
  ASSERT_EQ(broken.ending()->reason, EndReason::kNotFinite);
  EXPECT_EQ(broken.cached_prompt_tokens(), 8);
  EXPECT_EQ(stepper.scheduler().pool().kept(), 0);
  Reader again;
  Run(stepper, SamePrompt(3, 10, 1), again);
  EXPECT_EQ(again.cached_prompt_tokens(), 0);
}

TEST_P(SchedulerPrefixTest, ANanTakesNothingFromThoseThatShare) {
  FakeModel model(kVocab);
  model.ScriptNotFinite(1, 12);
  Stepper stepper(limits_, model);
  Reader mate;
  Reader broken;
  stepper.Add(SamePrompt(2, 10, 30), mate);
  stepper.Turn();
  stepper.Add(MakeRequest(1, 10, 20), broken);
  stepper.RunDry();
  broken.Take();
  ASSERT_EQ(broken.ending()->reason, EndReason::kNotFinite);
  Check(stepper, SamePrompt(2, 10, 30), mate);
  EXPECT_GE(stepper.scheduler().pool().kept(), 9);
}

}  // namespace
}  // namespace thinkwire::worker::engine

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "tests/worker/engine/stepper.h"

namespace thinkwire::worker::engine {
namespace {

struct Live {
  Request request;
  std::int32_t max_tokens = 0;
  std::unique_ptr<Reader> reader;
};

// Everything that can happen to a scheduler, in an order drawn from one seed. The fake runner
// checks each plan, the scheduler its invariants, and this each text.
class RandomRun {
 public:
  RandomRun(std::uint32_t seed, std::int32_t max_in_flight)
      : random_(seed), limits_(Limits(max_in_flight)), stepper_(limits_, Model()) {}

  void Run(int operations) {
    for (int i = 0; i < operations && !testing::Test::HasFatalFailure(); ++i) Operate();
    while (!live_.empty() && !testing::Test::HasFatalFailure()) {
      for (auto it = live_.begin(); it != live_.end();) {
        const auto current = it++;
        Take(current->first);
      }
      stepper_.Turn();
    }
    while (stepper_.Turn()) {
    }
    stepper_.ExpectIdle();
  }

  int completed() const { return completed_; }
  std::uint64_t preemptions() { return stepper_.scheduler().preemptions(); }
  const PrefixUse& prefix_use() { return stepper_.scheduler().prefix_use(); }

 private:
  step::Limits Limits(std::int32_t max_in_flight) {
    return {.max_num_seqs = Draw(1, 8),
            .max_num_batched_tokens = Draw(1, 40),
            .max_model_len = Draw(20, 100),
            .block_tokens = Draw(1, 8),
            .num_blocks = Draw(10, 40),
            .max_in_flight = max_in_flight,
            .vocab_size = kVocab};
  }

  FakeModel Model() {
    FakeModel model(kVocab);
    for (int i = 0; i < 200; ++i) {
      model.Script(static_cast<std::uint64_t>(Draw(0, 300)), Draw(2, 60),
                   Draw(0, 2) == 0 ? kEos : kThinkEnd);
    }
    return model;
  }

  std::int32_t Draw(std::int32_t low, std::int32_t high) {
    return std::uniform_int_distribution<std::int32_t>(low, high)(random_);
  }

  void Operate() {
    switch (Draw(0, 9)) {
      case 0:
      case 1:
        return Add();
      case 2:
        return Cancel();
      case 3:
      case 4:
        if (!live_.empty()) Take(Any());
        return;
      case 5:
        stepper_.clock().Advance(std::chrono::seconds(Draw(0, 20)));
        return stepper_.scheduler().Expire(stepper_.clock().Now());
      case 6:
        stepper_.Submit();
        return;
      default:
        stepper_.Turn();
    }
  }

  void Add() {
    const std::uint64_t seed = next_seed_++;
    Live live{.request = MakeRequest(seed, Draw(1, 40), Draw(1, 40)),
              .reader = std::make_unique<Reader>(static_cast<std::size_t>(Draw(1, 30)))};
    if (Draw(0, 1) == 0 && !texts_.empty()) live.request.prompt_ids = Continuation();
    if (Draw(0, 4) == 0) live.request.cache_salt = "salt";
    live.request.logprobs = Draw(0, 1) == 0;
    if (live.request.logprobs) live.request.alternatives = Draw(0, step::kMaxAlternatives);
    live.request.ignore_eos = Draw(0, 3) == 0;
    for (std::vector<std::int32_t>& ids : live.request.stop_ids) {
      if (Draw(0, 3) == 0) ids = {Draw(0, kVocab - 1), Draw(0, 1) == 0 ? kEos : kThinkEnd};
    }
    for (step::PhaseSampling& phase : live.request.sampling.phases) {
      if (Draw(0, 2) == 0) phase.repetition_penalty = 1.1F;
      if (Draw(0, 2) == 0) phase.presence_penalty = 0.5F;
      if (Draw(0, 2) == 0) phase.frequency_penalty = -0.5F;
    }
    for (std::vector<step::LogitBias>& biases : live.request.logit_bias) {
      if (Draw(0, 2) == 0) biases = {{Draw(0, 9), 1}, {Draw(10, 99), -1}};
    }
    if (Draw(0, 3) == 0) live.request.start_phase = step::Phase::kAnswer;
    if (Draw(0, 5) == 0) live.request.max_tokens.reset();
    if (Draw(0, 5) == 0) {
      live.request.deadline = stepper_.clock().Now() + std::chrono::seconds(Draw(0, 100));
    }
    const absl::StatusOr<std::int32_t> max_tokens = CheckRequest(live.request, limits_);
    if (!max_tokens.ok()) return;
    live.max_tokens = *max_tokens;
    const RequestHandle handle = stepper_.Add(live.request, *live.reader);
    live_.emplace(handle, std::move(live));
  }

  // The beginning of a text so far, and something new.
  std::vector<std::int32_t> Continuation() {
    std::vector<std::int32_t> ids =
        texts_[static_cast<std::size_t>(Draw(0, static_cast<std::int32_t>(texts_.size()) - 1))];
    ids.resize(static_cast<std::size_t>(Draw(1, static_cast<std::int32_t>(ids.size()))));
    for (std::int32_t left = Draw(0, 6); left > 0; --left) ids.push_back(Draw(50, 52));
    return ids;
  }

  RequestHandle Any() {
    return std::next(live_.begin(), Draw(0, static_cast<std::int32_t>(live_.size()) - 1))->first;
  }

  void Cancel() {
    if (live_.empty()) return;
    const RequestHandle handle = Any();
    stepper_.scheduler().End(handle, EndReason::kCancelled);
    stepper_.scheduler().CheckInvariants();
    Take(handle);
    ASSERT_FALSE(live_.contains(handle)) << "a cancelled sequence has its ending";
  }

  // Reads `handle`'s stream and, once it has ended, compares it with the text drawn alone.
  void Take(RequestHandle handle) {
    const Live& live = live_.at(handle);
    live.reader->Take();
    const std::optional<Ending>& ending = live.reader->ending();
    if (!ending) return;
    const Output alone = Alone(stepper_.model(), live.request, live.max_tokens);
    const bool complete = ending->reason == EndReason::kEndOfSequence ||
                          ending->reason == EndReason::kStopId ||
                          ending->reason == EndReason::kLength;
    ASSERT_EQ(static_cast<std::size_t>(ending->generated_tokens), live.reader->tokens().size());
    ExpectTokens(live.reader->tokens(), alone, complete);
    if (complete) {
      EXPECT_EQ(ending->reason, alone.reason);
      ++completed_;
    }
    std::vector<std::int32_t>& text = texts_.emplace_back(live.request.prompt_ids);
    for (const Token& token : live.reader->tokens()) text.push_back(token.id);
    live_.erase(handle);
  }

  std::mt19937 random_;
  const step::Limits limits_;
  Stepper stepper_;
  std::map<RequestHandle, Live> live_;
  std::vector<std::vector<std::int32_t>> texts_;  // of those that ended
  std::uint64_t next_seed_ = 0;
  int completed_ = 0;
};

class SchedulerRandomTest : public testing::TestWithParam<std::int32_t> {};

INSTANTIATE_TEST_SUITE_P(InFlight, SchedulerRandomTest, testing::Values(1, 2),
                         testing::PrintToStringParamName());

TEST_P(SchedulerRandomTest, RandomOperationsKeepInvariantsAndTexts) {
  int completed = 0;
  std::uint64_t preemptions = 0;
  std::uint64_t hits = 0;
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    RandomRun run(seed, GetParam());
    run.Run(600);
    if (HasFailure()) return;
    completed += run.completed();
    preemptions += run.preemptions();
    hits += run.prefix_use().hits;
  }
  // The runs meet what they are meant to meet.
  EXPECT_GT(completed, 1000);
  EXPECT_GT(preemptions, 200U);
  EXPECT_GT(hits, 300U);
}

}  // namespace
}  // namespace thinkwire::worker::engine

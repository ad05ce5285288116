#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "tests/worker/engine/fake_format.h"
#include "tests/worker/engine/stepper.h"

namespace thinkwire::worker::engine {
namespace {

struct Live {
  Request request;
  std::int32_t max_tokens = 0;
  std::unique_ptr<Reader> reader;
  Forced forced = {};
  std::vector<Token> text = {};  // what was given to the stream, less what was taken back
  std::size_t taken = 0;         // of the reader's tokens
};

// Everything that can happen to a scheduler, in an order drawn from one seed. The fake runner
// checks each plan, the scheduler its invariants, and this each text.
class RandomRun {
 public:
  RandomRun(std::uint32_t seed, std::int32_t max_in_flight, bool enable_prefix_caching = true)
      : random_(seed),
        limits_(Limits(max_in_flight)),
        stepper_(limits_, Model(), enable_prefix_caching, static_cast<std::size_t>(Draw(1, 30))) {}

  // From now on someone forces ids, takes them back and proposes them, and rows give less than they
  // were asked for.
  void Steer() {
    steers_ = true;
    stepper_.runner().AllowGoingBack();
    stepper_.runner().Withhold([this] { return Draw(0, 9) == 0 ? Draw(1, 3) : 0; });
  }

  void Run(int operations) {
    for (int i = 0; i < operations && !testing::Test::HasFatalFailure(); ++i) Operate();
    while (!live_.empty() && !testing::Test::HasFatalFailure()) {
      for (auto it = live_.begin(); it != live_.end();) {
        const auto current = it++;
        Take(current->first);
      }
      stepper_.Turn();
      stepper_.FindMask();
    }
    while (stepper_.Turn()) {
    }
    stepper_.ExpectIdle();
  }

  // From now on some requests go on from what another scheduler drew for them.
  void Resume() { resumes_ = true; }

  // From now on requests say how long is thought, and someone asks for the answer at any moment.
  void Think() {
    thinks_ = true;
    stepper_.runner().AllowGoingBack();
  }

  // From now on some answers have a format, and someone takes ids back at any moment.
  void Format() {
    formats_ = true;
    stepper_.runner().AllowGoingBack();
    stepper_.DelayMasks(static_cast<std::size_t>(Draw(0, 4)));
  }

  // From now on some requests have several outputs.
  void Multiply() { multiplies_ = true; }

  // From now on requests come from so many peers.
  void SetPeers(std::int32_t peers) { peers_ = peers; }

  int completed() const { return completed_; }
  std::uint64_t preemptions() { return stepper_.scheduler().preemptions(); }
  std::uint64_t rows_without_mask() { return stepper_.scheduler().rows_without_mask(); }
  int most_parked() const { return most_parked_; }
  const PrefixUse& prefix_use() { return stepper_.scheduler().prefix_use(); }
  int multiplied() const { return multiplied_; }
  std::int32_t kept_blocks() { return stepper_.scheduler().pool().kept(); }
  int steered() const { return steered_; }
  int resumed() const { return resumed_; }
  // Tokens of those that completed, by who chose them.
  int tokens_of(TokenOrigin origin) const {
    const auto found = tokens_of_.find(origin);
    return found == tokens_of_.end() ? 0 : found->second;
  }
  // Rows that drew several tokens.
  int rows_of_several() {
    int rows = 0;
    for (const step::Plan& plan : stepper_.runner().plans()) {
      rows += static_cast<int>(
          std::ranges::count_if(plan.rows, [](const step::Row& row) { return row.draws > 1; }));
    }
    return rows;
  }

 private:
  step::Limits Limits(std::int32_t max_in_flight) {
    step::Limits limits = {.max_num_seqs = Draw(1, 8),
                           .max_num_batched_tokens = Draw(1, 40),
                           .max_model_len = Draw(20, 100),
                           .block_tokens = Draw(1, 8),
                           .num_blocks = Draw(10, 40),
                           .max_in_flight = max_in_flight,
                           .vocab_size = kVocab};
    limits.max_draws = std::max(limits.max_num_seqs, limits.max_num_batched_tokens);
    return limits;
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
    most_parked_ = std::max(most_parked_, stepper_.scheduler().parked());
    if (steers_ && Draw(0, 3) == 0) return SteerAny();
    if (thinks_ && Draw(0, 9) == 0) return AnswerNow();
    if (formats_ && !thinks_ && Draw(0, 9) == 0) return RewindAny();
    if (formats_ && Draw(0, 2) == 0 && stepper_.FindMask()) return;
    switch (Draw(0, 9)) {
      case 0:
      case 1:
        return Add();
      case 2:
        return Cancel();
      case 3:
      case 4:
        if (!live_.empty()) Take(Any(), Draw(0, 1) == 0 ? Draw(1, 10) : 1000);
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
    live.request.peer = std::to_string(Draw(1, peers_));
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
    if (steers_ && Draw(0, 1) == 0) {  // so that proposals mean something
      for (step::PhaseSampling& phase : live.request.sampling.phases) phase = {};
      live.request.logit_bias = {};
    }
    if (Draw(0, 3) == 0) live.request.start_phase = step::Phase::kAnswer;
    if (Draw(0, 5) == 0) live.request.max_tokens.reset();
    if (Draw(0, 5) == 0) {
      live.request.deadline = stepper_.clock().Now() + std::chrono::seconds(Draw(0, 100));
    }
    if (thinks_) SetThinking(live.request);
    if (formats_ && Draw(0, 3) > 0) {
      live.request.ignore_eos = false;
      live.request.format = std::make_shared<const FakeFormat>(Draw(1, 30));
    }
    const absl::StatusOr<std::int32_t> max_tokens = CheckRequest(live.request, limits_);
    if (!max_tokens.ok()) return;
    live.max_tokens = *max_tokens;
    if (multiplies_ && Draw(0, 2) == 0) return AddSeveral(live);
    if (resumes_ && Draw(0, 1) == 0) BeginInTheMiddle(live);
    const RequestHandle handle = stepper_.Add(live.request, *live.reader);
    live_.emplace(handle, std::move(live));
  }

  // Outputs of the one request, some of them begun elsewhere, whose readers differ.
  void AddSeveral(const Live& one) {
    RequestHandle first = 0;
    const auto outputs = static_cast<std::uint32_t>(Draw(2, 5));
    for (const Request& request : OutputsOf(one.request, outputs)) {
      Live live{.request = request,
                .max_tokens = one.max_tokens,
                .reader = std::make_unique<Reader>(static_cast<std::size_t>(Draw(1, 30)))};
      if (resumes_ && Draw(0, 1) == 0) BeginInTheMiddle(live);
      if (first == 0) first = stepper_.next_handle();
      live.request.prompt_of = first;
      const RequestHandle handle = stepper_.Add(live.request, *live.reader);
      live_.emplace(handle, std::move(live));
    }
    ++multiplied_;
  }

  void SetThinking(Request& request) {
    Thinking& thinking = request.thinking;
    thinking = MakeThinking();
    if (Draw(0, 1) == 0) request.start_phase = step::Phase::kReasoning;
    if (Draw(0, 1) == 0) thinking.budget_tokens = Draw(0, 30);
    if (Draw(0, 2) == 0) thinking.min_answer_tokens = Draw(0, 20);
    if (Draw(0, 2) == 0) thinking.min_tokens = Draw(0, 20);
    if (Draw(0, 2) == 0) thinking.landing_share = static_cast<float>(Draw(0, 10)) / 10;
    if (Draw(0, 2) == 0) thinking.closing_ids.clear();
    if (Draw(0, 2) == 0) thinking.loops = {.max_repeats = 2, .max_period_tokens = Draw(1, 40)};
  }

  void AnswerNow() {
    if (live_.empty()) return;
    const RequestHandle handle = Any();
    Take(handle);
    if (!live_.contains(handle)) return;
    Live& live = live_.at(handle);
    std::optional<Closing>& closing = live.request.thinking.closing;
    if (!closing) closing = {.position = static_cast<std::int32_t>(live.text.size())};
    stepper_.scheduler().AnswerNow(handle);
    stepper_.scheduler().CheckInvariants();
  }

  // Whatever stands before its last token was drawn elsewhere.
  void BeginInTheMiddle(Live& live) {
    if (thinks_ && Draw(0, 2) == 0) {
      live.request.thinking.closing = {.position = Draw(0, 20), .origin = TokenOrigin::kAnswerNow};
    }
    const Output alone = Alone(stepper_.model(), live.request, live.max_tokens);
    const std::int32_t drawn = Draw(0, static_cast<std::int32_t>(alone.tokens.size()) - 1);
    for (std::int32_t i = 0; i < drawn; ++i) {
      live.text.push_back(alone.tokens[static_cast<std::size_t>(i)]);
      live.request.drawn_ids.push_back(live.text.back().id);
      if (live.text.back().origin == TokenOrigin::kContinued) {
        live.request.thinking.continued.push_back({.first = i, .count = 1});
      }
    }
    if (drawn > 0) ++resumed_;
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

  void SteerAny() {
    if (live_.empty()) return;
    const RequestHandle handle = Any();
    Take(handle);
    if (!live_.contains(handle)) return;
    ++steered_;
    switch (Draw(0, 2)) {
      case 0:
        Force(handle, live_.at(handle));
        break;
      case 1:
        Rewind(handle, live_.at(handle));
        if (Draw(0, 1) == 0) Propose(handle, live_.at(handle));
        break;
      default:
        Propose(handle, live_.at(handle));
    }
    stepper_.scheduler().CheckInvariants();
  }

  void RewindAny() {
    if (live_.empty()) return;
    const RequestHandle handle = Any();
    Take(handle);
    if (!live_.contains(handle)) return;
    Rewind(handle, live_.at(handle));
    Propose(handle, live_.at(handle));
    stepper_.scheduler().CheckInvariants();
  }

  void Force(RequestHandle handle, Live& live) {
    std::vector<std::int32_t> ids;
    for (std::int32_t left = Draw(1, 6); left > 0; --left) {
      ids.push_back(Draw(0, 9) == 0 ? Draw(kEos, kThinkEnd) : Draw(50, 52));
    }
    const TokenOrigin origin = Draw(0, 1) == 0 ? TokenOrigin::kLoop : TokenOrigin::kAnswerNow;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      live.forced[live.text.size() + i] = {.id = ids[i], .origin = origin};
    }
    stepper_.scheduler().Force(handle, ids, origin);
  }

  void Rewind(RequestHandle handle, Live& live) {
    const auto size = static_cast<std::int32_t>(live.text.size());
    const std::int32_t keep = Draw(std::max(0, size - Draw(0, 20)), size);
    live.text.resize(static_cast<std::size_t>(keep));
    live.forced.erase(live.forced.lower_bound(live.text.size()), live.forced.end());
    stepper_.scheduler().Rewind(handle,
                                static_cast<std::int32_t>(live.request.prompt_ids.size()) + keep);
  }

  // How the text does go on, but for an error here and there.
  void Propose(RequestHandle handle, const Live& live) {
    const Output alone = Alone(stepper_.model(), live.request, live.max_tokens, live.forced);
    std::vector<std::int32_t> ids;
    for (std::size_t i = live.text.size(); i < alone.tokens.size() && ids.size() < 5; ++i) {
      ids.push_back(Draw(0, 5) == 0 ? 50 : alone.tokens[i].id);
    }
    stepper_.scheduler().Propose(handle, ids);
  }

  // Reads so many tokens of `handle`'s stream, all by default, and, once it has ended, compares it
  // with the text drawn alone.
  void Take(RequestHandle handle, std::int32_t max_tokens = 1000) {
    Live& live = live_.at(handle);
    live.reader->Take(static_cast<std::size_t>(max_tokens));
    const std::vector<Token>& tokens = live.reader->tokens();
    for (; live.taken < tokens.size(); ++live.taken) live.text.push_back(tokens[live.taken]);
    const std::optional<Ending>& ending = live.reader->ending();
    if (!ending) return;
    const Output alone = Alone(stepper_.model(), live.request, live.max_tokens, live.forced);
    const bool complete =
        ending->reason == EndReason::kEndOfSequence || ending->reason == EndReason::kStopId ||
        ending->reason == EndReason::kLoop || ending->reason == EndReason::kLength;
    ASSERT_EQ(static_cast<std::size_t>(ending->generated_tokens), live.text.size());
    ExpectTokens(live.text, alone, complete);
    if (complete) {
      EXPECT_EQ(ending->reason, alone.reason);
      ++completed_;
      for (const Token& token : live.text) ++tokens_of_[token.origin];
    }
    std::vector<std::int32_t>& text = texts_.emplace_back(live.request.prompt_ids);
    for (const Token& token : live.text) text.push_back(token.id);
    live_.erase(handle);
  }

  std::mt19937 random_;
  const step::Limits limits_;
  Stepper stepper_;
  std::map<RequestHandle, Live> live_;
  std::vector<std::vector<std::int32_t>> texts_;  // of those that ended
  std::uint64_t next_seed_ = 0;
  int completed_ = 0;
  std::int32_t most_parked_ = 0;
  std::int32_t peers_ = 1;
  bool steers_ = false;
  int steered_ = 0;
  bool resumes_ = false;
  int resumed_ = 0;
  bool thinks_ = false;
  bool formats_ = false;
  bool multiplies_ = false;
  int multiplied_ = 0;
  std::map<TokenOrigin, int> tokens_of_;
};

class SchedulerRandomTest : public testing::TestWithParam<std::int32_t> {};

INSTANTIATE_TEST_SUITE_P(InFlight, SchedulerRandomTest, testing::Values(1, 2),
                         testing::PrintToStringParamName());

TEST_P(SchedulerRandomTest, RandomOperationsKeepInvariantsAndTexts) {
  int completed = 0;
  int runs_with_many_parked = 0;
  std::uint64_t preemptions = 0;
  std::uint64_t hits = 0;
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    RandomRun run(seed, GetParam());
    run.SetPeers(1 + static_cast<std::int32_t>(seed % 4));
    run.Run(600);
    if (HasFailure()) return;
    completed += run.completed();
    if (run.most_parked() >= 3) ++runs_with_many_parked;
    preemptions += run.preemptions();
    hits += run.prefix_use().hits;
  }
  // The runs meet what they are meant to meet.
  EXPECT_GT(completed, 1000);
  EXPECT_GT(runs_with_many_parked, 20);
  EXPECT_GT(preemptions, 200U);
  EXPECT_GT(hits, 300U);
}

// The same while ids are forced, taken back and proposed at any moment: what is drawn depends on
// what stands before it alone, and nothing that was taken back is ever found again.
TEST_P(SchedulerRandomTest, SteeringAtAnyMomentKeepsInvariantsAndTexts) {
  int completed = 0;
  int steered = 0;
  int rows_of_several = 0;
  int runs_with_many_parked = 0;
  std::uint64_t preemptions = 0;
  std::uint64_t hits = 0;
  for (std::uint32_t seed = 411; seed < 531; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    RandomRun run(seed, GetParam());
    run.Steer();
    run.SetPeers(1 + static_cast<std::int32_t>(seed % 4));
    run.Run(600);
    if (HasFailure()) return;
    completed += run.completed();
    steered += run.steered();
    rows_of_several += run.rows_of_several();
    if (run.most_parked() >= 3) ++runs_with_many_parked;
    preemptions += run.preemptions();
    hits += run.prefix_use().hits;
  }
  EXPECT_GT(completed, 1500);
  EXPECT_GT(steered, 6000);
  EXPECT_GT(rows_of_several, 300);
  EXPECT_GT(runs_with_many_parked, 10);
  EXPECT_GT(preemptions, 200U);
  EXPECT_GT(hits, 300U);
}

// The same where outputs begin in the middle: preempted, parked and steered, they go on as if they
// had been drawn here from the start.
TEST_P(SchedulerRandomTest, ResumedOutputsKeepInvariantsAndTexts) {
  int completed = 0;
  int resumed = 0;
  std::uint64_t preemptions = 0;
  for (std::uint32_t seed = 1000; seed < 1040; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    RandomRun run(seed, GetParam());
    run.Resume();
    if (seed % 2 == 0) run.Steer();
    run.SetPeers(1 + static_cast<std::int32_t>(seed % 4));
    run.Run(600);
    if (HasFailure()) return;
    completed += run.completed();
    resumed += run.resumed();
    preemptions += run.preemptions();
  }
  EXPECT_GT(completed, 500);
  EXPECT_GT(resumed, 400);
  EXPECT_GT(preemptions, 50U);
}

// The same with budgets, landings, least lengths, loops and calls for the answer at any moment, of
// new outputs and of resumed ones: what the client gets is what the definition says, and does not
// depend on how far ahead is drawn, on batches, chunks or preemptions.
TEST_P(SchedulerRandomTest, SteeredThinkingKeepsInvariantsAndTexts) {
  int completed = 0;
  int resumed = 0;
  std::map<TokenOrigin, int> tokens;
  std::uint64_t preemptions = 0;
  for (std::uint32_t seed = 2000; seed < 2080; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    RandomRun run(seed, GetParam());
    run.Think();
    if (seed % 2 == 0) run.Resume();
    run.SetPeers(1 + static_cast<std::int32_t>(seed % 4));
    run.Run(600);
    if (HasFailure()) return;
    completed += run.completed();
    resumed += run.resumed();
    for (const TokenOrigin origin : {TokenOrigin::kBudget, TokenOrigin::kLoop,
                                     TokenOrigin::kAnswerNow, TokenOrigin::kContinued}) {
      tokens[origin] += run.tokens_of(origin);
    }
    preemptions += run.preemptions();
  }
  EXPECT_GT(completed, 1000);
  EXPECT_GT(resumed, 400);
  EXPECT_GT(preemptions, 100U);
  EXPECT_GT(tokens[TokenOrigin::kBudget], 500);
  EXPECT_GT(tokens[TokenOrigin::kAnswerNow], 200);
  EXPECT_GT(tokens[TokenOrigin::kContinued], 20);
}

// The same with formats: what a mask lets be drawn and what is forced between depends on the ids
// before alone, however far ahead others draw.
TEST_P(SchedulerRandomTest, FormatsKeepInvariantsAndTexts) {
  int completed = 0;
  int resumed = 0;
  int forced = 0;
  std::uint64_t without_mask = 0;
  std::uint64_t preemptions = 0;
  for (std::uint32_t seed = 3000; seed < 3080; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    RandomRun run(seed, GetParam());
    run.Format();
    if (seed % 2 == 0) run.Think();
    if (seed % 3 == 0) run.Resume();
    run.SetPeers(1 + static_cast<std::int32_t>(seed % 4));
    run.Run(600);
    if (HasFailure()) return;
    completed += run.completed();
    resumed += run.resumed();
    forced += run.tokens_of(TokenOrigin::kFormat);
    preemptions += run.preemptions();
    without_mask += run.rows_without_mask();
  }
  EXPECT_GT(without_mask, 1000U);
  EXPECT_GT(completed, 1000);
  EXPECT_GT(resumed, 200);
  EXPECT_GT(forced, 2000);
  EXPECT_GT(preemptions, 100U);
}

// The same with several outputs of one prompt, with the prefix cache and without: each draws what
// it draws alone, whoever of them computes the prompt, ends, is preempted or not read. Without the
// cache nothing of theirs stays.
TEST_P(SchedulerRandomTest, SeveralOutputsKeepInvariantsAndTexts) {
  int completed = 0;
  int multiplied = 0;
  int runs_with_many_parked = 0;
  std::uint64_t preemptions = 0;
  for (std::uint32_t seed = 4000; seed < 4120; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const bool caches = seed % 2 == 0;
    RandomRun run(seed, GetParam(), caches);
    run.Multiply();
    if (seed % 3 == 0) run.Resume();
    if (seed % 5 == 0) {
      run.Think();
    } else if (seed % 7 == 0) {
      run.Steer();
    }
    run.SetPeers(1 + static_cast<std::int32_t>(seed % 4));
    run.Run(600);
    if (HasFailure()) return;
    completed += run.completed();
    multiplied += run.multiplied();
    if (run.most_parked() >= 3) ++runs_with_many_parked;
    preemptions += run.preemptions();
    if (!caches) {
      EXPECT_EQ(run.kept_blocks(), 0);
    }
  }
  EXPECT_GT(completed, 2000);
  EXPECT_GT(multiplied, 1000);
  EXPECT_GT(runs_with_many_parked, 20);
  EXPECT_GT(preemptions, 300U);
}

}  // namespace
}  // namespace thinkwire::worker::engine

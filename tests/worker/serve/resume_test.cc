// A stream that goes on from what another one has sent.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/rpc/status_details.h"
#include "tests/worker/serve/output_testing.h"
#include "tests/worker/serve/response_stream_testing.h"
#include "tests/worker/serve/sent_state.h"
#include "worker/engine/replay.h"
#include "worker/engine/token_stream.h"
#include "worker/serve/resume_reader.h"

namespace thinkwire::worker::serve {
namespace {

using step::Phase;

constexpr char kOpenTurn[] = "<｜begin▁of▁sentence｜><｜User｜>q<｜Assistant｜>";

// A request and what the model draws for it, from the prompt's end on; more is the model's own.
struct Script {
  std::string name;
  std::vector<std::int32_t> ids;
  v1::GenerateRequest request = MakeRequest(1);
};

Script Written(std::string name, std::vector<std::int32_t> ids) {
  return {.name = std::move(name), .ids = std::move(ids)};
}

// 你好 as the tokenizer cuts it: one and a third characters, and the rest byte by byte.
std::vector<std::int32_t> SplitCharacters() { return {260, 0xA5, 0xBD}; }

std::vector<Script> EndsOfAllKinds() {
  std::vector<Script> scripts;
  scripts.push_back(Written("an end in the answer", Ids("\nh\xC3\xA9") + SplitCharacters() +
                                                        std::vector{kThinkEnd} + Ids("\n\n4\n") +
                                                        SplitCharacters() + std::vector{kEos}));
  scripts.push_back(Written("an end in the reasoning", Ids("hm\xC3") + std::vector{kEos}));
  scripts.push_back(Written("two think-ends", {'a', kThinkEnd, 'b', kThinkEnd, 'c', kEos}));
  scripts.push_back(Written("nothing thought", {kThinkEnd, 'b', kEos}));

  Script answer_stop = Written("a stop string over tokens",
                               {'a', 259, kThinkEnd, '\n', 259, 'o', 259, 'p', 'z', kEos});
  answer_stop.request.mutable_answer_sampling()->add_stop_strings("stop");
  scripts.push_back(std::move(answer_stop));

  Script held = Written("held back until the thinking closes", {'a', 259, kThinkEnd, 's', kEos});
  held.request.mutable_sampling()->add_stop_strings("stop");
  scripts.push_back(std::move(held));

  Script reasoning_stop = Written("a stop string of the reasoning", {'a', 259, 'p', kThinkEnd});
  reasoning_stop.request.mutable_reasoning_sampling()->add_stop_strings("stop");
  scripts.push_back(std::move(reasoning_stop));

  Script stop_id = Written("a stop id", {'a', kThinkEnd, 'b', 'y', kEos});
  stop_id.request.mutable_answer_sampling()->add_stop_token_ids('y');
  scripts.push_back(std::move(stop_id));

  Script closing_stop_id = Written("a stop id that would close", {'a', kThinkEnd, kEos});
  closing_stop_id.request.mutable_reasoning_sampling()->add_stop_token_ids(kThinkEnd);
  scripts.push_back(std::move(closing_stop_id));
  return scripts;
}

std::vector<Script> Lengths() {
  std::vector<Script> scripts;
  Script thinking = Written("a length with text held back", {'a', 259, 0xE4, 'x'});
  thinking.request.set_max_tokens(3);
  thinking.request.mutable_reasoning_sampling()->add_stop_strings("stop");
  scripts.push_back(std::move(thinking));

  Script answering = Written("a length in the answer", {'a', kThinkEnd, 'b', 'c', 0xE4, 0xBD});
  answering.request.set_max_tokens(5);
  scripts.push_back(std::move(answering));

  Script adjusted = Written("penalties and log-probabilities", {'a', 'b', 'a', kThinkEnd});
  adjusted.request.set_max_tokens(24);
  adjusted.request.set_ignore_eos(true);
  adjusted.request.mutable_sampling()->set_repetition_penalty(1.3F);
  adjusted.request.mutable_sampling()->set_frequency_penalty(0.5F);
  adjusted.request.mutable_sampling()->set_presence_penalty(0.25F);
  (*adjusted.request.mutable_sampling()->mutable_logit_bias())['x'] = 2;
  adjusted.request.mutable_sampling()->set_logprobs(true);
  adjusted.request.mutable_sampling()->set_top_logprobs(2);
  adjusted.request.mutable_sampling()->set_token_bytes(true);
  scripts.push_back(std::move(adjusted));
  return scripts;
}

std::vector<Script> OpenTurns() {
  std::vector<Script> scripts;
  scripts.push_back(Written("the model opens its thinking",
                            {'\n', ' ', kThink, '\n', 'a', kThinkEnd, '\n', 'b', kEos}));
  scripts.push_back(Written("the model answers at once", {'\n', ' ', 'b', kThink, kEos}));
  scripts.push_back(Written("white space alone", {'\n', ' ', kEos}));
  for (Script& script : scripts) script.request.mutable_prompt()->set_text(kOpenTurn);
  Script full = Written("white space up to the length", {'\n', ' ', '\n'});
  full.request.mutable_prompt()->set_text(kOpenTurn);
  full.request.set_max_tokens(3);
  scripts.push_back(std::move(full));
  return scripts;
}

// Thinking that something ends, or goes on with.
std::vector<Script> Steered() {
  std::vector<Script> scripts;
  const auto add = [&scripts](std::string name, std::vector<std::int32_t> ids) -> v1::Thinking& {
    scripts.push_back(Written(std::move(name), std::move(ids)));
    scripts.back().request.set_max_tokens(40);
    return *scripts.back().request.mutable_thinking();
  };
  const std::vector<std::int32_t> long_thought(12, 'h');
  v1::Thinking& closed = add("a budget with a closing text", long_thought);
  closed.set_budget_tokens(9);
  closed.set_closing_text("\nso\xC3\xA9");
  v1::Thinking& cut = add("a budget within a character", {'a', 0xE4, 0xBD, 0xA0, 'b'});
  cut.set_budget_tokens(3);
  cut.set_closing_text("too long for it");
  v1::Thinking& none = add("a budget of nothing", long_thought);
  none.set_budget_tokens(0);
  v1::Thinking& landed = add("a landing", {'a', '.', 'b', '3', '.', '1', 'c', '.', 'd', 'e'});
  landed.set_budget_tokens(12);
  landed.set_landing_share(0.75F);
  v1::Thinking& more = add("a closing that comes too early", {'a', kThinkEnd});
  more.set_min_tokens(12);
  more.set_continue_text("hm");
  v1::Thinking& both = add("too early up to the budget", {'a', kThinkEnd});
  both.set_min_tokens(8);
  both.set_budget_tokens(8);
  both.set_continue_text("hm, ");
  both.set_closing_text("so");
  add("what is kept for the answer", long_thought);
  scripts.back().request.set_max_tokens(14);
  scripts.back().request.set_min_answer_tokens(6);
  add("a loop in the reasoning and one in the answer", std::vector<std::int32_t>(200, 'h'));
  scripts.back().request.set_max_tokens(190);
  scripts.back().request.mutable_loop_limits()->set_max_repeats(4);
  v1::Thinking& open = add("a budget of thinking that the model opens",
                           {'\n', kThink, '\n', 'a', 'b', 'c', 'd', 'e'});
  open.set_budget_tokens(6);
  scripts.back().request.mutable_prompt()->set_text(kOpenTurn);
  return scripts;
}

// Answers that have a format: what the script does not say is the model's own, as far as it may.
std::vector<Script> Formatted() {
  std::vector<Script> scripts;
  const auto add = [&scripts](std::string name, std::vector<std::int32_t> ids) -> Script& {
    Script& script = scripts.emplace_back(Written(std::move(name), std::move(ids)));
    script.request.set_max_tokens(120);
    script.request.mutable_answer_format()->set_json_schema(
        R"({"type": "object", "properties": {"name": {"type": "string", "maxLength": 4},
            "ok": {"type": "boolean"}}, "required": ["name", "ok"]})");
    return script;
  };
  add("a schema", {'h', kThinkEnd});
  add("a schema whose reasoning does not close", {'h', 'm', kEos});
  add("a schema that is cut", {'h', kThinkEnd}).request.set_max_tokens(6);
  add("a schema within a forced stretch", {'h', kThinkEnd}).request.set_max_tokens(4);
  v1::GenerateRequest& steered = add("a schema after a budget", {'h', 'm', 'h', 'm'}).request;
  steered.mutable_thinking()->set_budget_tokens(4);
  steered.mutable_thinking()->set_closing_text("so");
  v1::GenerateRequest& early = add("a schema after a closing too early", {'h', kThinkEnd}).request;
  early.mutable_thinking()->set_min_tokens(6);
  early.mutable_thinking()->set_continue_text("hm");
  v1::GenerateRequest& stopped = add("a schema and a stop string", {'h', kThinkEnd}).request;
  stopped.mutable_answer_sampling()->add_stop_strings("\"ok");
  stopped.mutable_sampling()->set_logprobs(true);
  stopped.mutable_sampling()->set_repetition_penalty(1.3F);
  v1::GenerateRequest& opened =
      add("a schema after thinking that the model opens", {kThink, 'a', kThinkEnd}).request;
  opened.mutable_prompt()->set_text(kOpenTurn);
  v1::GenerateRequest& lines = add("line feeds that belong to it", {'h', kThinkEnd}).request;
  lines.mutable_answer_format()->set_regex("\\n\\n[0-9]{2}(ab|cd)");
  v1::GenerateRequest& choices = add("choices", {'h', kThinkEnd}).request;
  choices.mutable_answer_format()->mutable_choices()->add_choices("stop it");
  choices.mutable_answer_format()->mutable_choices()->add_choices("stopper");
  return scripts;
}

struct Outcome {
  OutputEvents::Events events;  // between Started and Completed
  v1::Started started;
  v1::Completed completed;
  std::vector<std::int32_t> prompt_ids;
};

Outcome OutcomeOf(const std::vector<v1::WorkerGenerateResponse>& messages) {
  Outcome outcome;
  outcome.prompt_ids = {messages[0].prompt_ids().ids().begin(),
                        messages[0].prompt_ids().ids().end()};
  for (const v1::WorkerGenerateResponse& message : messages) {
    const v1::GenerateResponse& event = message.event();
    if (event.has_started()) outcome.started = event.started();
    if (event.has_completed()) outcome.completed = event.completed();
    const bool of_output = !event.has_queued() && !event.has_started() && !event.has_completed();
    if (of_output) outcome.events.push_back(event);
  }
  return outcome;
}

class ResumeTest : public testing::Test {
 protected:
  void Serve(const Script& script) {
    engine::FakeModel model(kVocabulary);
    const bool open = script.request.prompt().has_text();
    ScriptIds(model, 1, open ? 4 : 3, script.ids);
    worker_ = std::make_unique<FakeWorker>(std::move(model));
    worker_->runner.AllowGoingBack();  // from a closing that does not stand
  }

  Outcome Run(const v1::GenerateRequest& request, const v1::ResumeState* resume = nullptr) {
    auto reading = worker_->reader.Read(request, resume);
    EXPECT_TRUE(reading.ok()) << reading.status();
    if (!reading.ok()) return {};
    auto sink = std::make_shared<FakeSink>(kUnlimited);
    ResponseStream::Make(
        worker_->shared(),
        {.request_id = "r", .attempt = 7, .traceparent = "", .arrival = worker_->clock.Now()},
        *std::move(reading), sink)
        ->Begin();
    EXPECT_TRUE(sink->WaitUntilEnded().ok());
    AddUp(sink->messages());
    return OutcomeOf(sink->messages());
  }

  // Until the engine, which is at its gate, has been told to stop and takes nothing more.
  void WaitUntilStopping() {
    engine::Request request;
    request.prompt_ids = {'q'};
    const auto is_open = [&] {
      const auto stream = std::make_shared<engine::TokenStream>(1, [] {});
      return !absl::IsUnavailable(worker_->engine.Submit(request, stream).status());
    };
    while (is_open()) std::this_thread::yield();
  }

  // The events of `whole`, each with as few tokens as can be: a stream may break after any.
  OutputEvents::Events OneByOne(const v1::GenerateRequest& request, const Outcome& whole) {
    auto reading = worker_->reader.Read(request);
    OutputEvents output(*worker_->tokenizer, reading->output);
    reading->request.thinking.continued = ForcedOf(whole.events);
    engine::Replay replay(reading->request, reading->max_tokens,
                          worker_->model.end_of_sequence_ids);
    OutputEvents::Events events;
    auto logprobs = LogprobsOf(whole.events);
    logprobs.resize(IdsOf(whole.events).size());
    for (const std::int32_t id : IdsOf(whole.events)) {
      engine::Token token = replay.Next(id);
      token.logprob = logprobs.front().logprob();
      for (const v1::TokenAlternative& alternative : logprobs.front().alternatives()) {
        token.alternatives.push_back({alternative.token_id(), alternative.logprob()});
      }
      logprobs.pop_front();
      output.Add({&token, 1}, {}, &events);
    }
    output.End(replay.end().value_or(engine::EndReason::kFinishedByReader), {}, &events);
    return events;
  }

  // Of the reasoning: the ids alone do not tell which stand in the place of a closing one.
  static std::vector<engine::IdRange> ForcedOf(const OutputEvents::Events& events) {
    std::vector<engine::IdRange> forced;
    std::int32_t first = 0;
    for (const v1::GenerateResponse& event : events) {
      const std::int32_t count = event.reasoning_delta().token_ids_size();
      if (event.reasoning_delta().forced()) forced.push_back({.first = first, .count = count});
      first += count;
    }
    return forced;
  }

  static std::vector<std::int32_t> IdsOf(const OutputEvents::Events& events) {
    const Joined all = Join(events);
    return all.reasoning_ids + all.closing_ids + all.answer_ids + all.last_ids;
  }

  static std::deque<v1::TokenLogprob> LogprobsOf(const OutputEvents::Events& events) {
    std::deque<v1::TokenLogprob> all;
    const auto take = [&all](const auto& event) {
      all.insert(all.end(), event.logprobs().begin(), event.logprobs().end());
    };
    for (const v1::GenerateResponse& event : events) {
      if (event.has_reasoning_delta()) take(event.reasoning_delta());
      if (event.has_reasoning_finished()) take(event.reasoning_finished());
      if (event.has_answer_delta()) take(event.answer_delta());
      if (event.has_finished()) take(event.finished());
    }
    return all;
  }

  // Text alone: where the state does not say what was sent of the text, it would come again.
  static bool HasNoId(const v1::GenerateResponse& event) {
    return (event.has_reasoning_delta() && event.reasoning_delta().token_ids().empty()) ||
           (event.has_answer_delta() && event.answer_delta().token_ids().empty());
  }

  // Breaks the stream after each of its events, and joins what came with what another one gives.
  void TryEveryCut(const Script& script, bool tells_bytes = true) {
    Serve(script);
    const Outcome whole = Run(script.request);
    const OutputEvents::Events events = OneByOne(script.request, whole);
    ASSERT_EQ(Show(events), Show(whole.events));
    for (std::size_t cut = 0; cut <= events.size(); ++cut) {
      SCOPED_TRACE(absl::StrCat(script.name, ", after ", cut, " of ", events.size(), " events"));
      OutputEvents::Events joined(events.begin(), events.begin() + static_cast<long>(cut));
      v1::ResumeState state = StateAfter(whole.prompt_ids, whole.started.first_phase(), joined);
      if (!tells_bytes && !joined.empty() && HasNoId(joined.back())) continue;
      if (!tells_bytes) {
        state.mutable_outputs(0)->clear_reasoning_text_bytes();
        state.mutable_outputs(0)->clear_answer_text_bytes();
      }
      v1::GenerateRequest request = script.request;
      request.clear_prompt();
      const Outcome rest = Run(request, &state);
      joined.insert(joined.end(), rest.events.begin(), rest.events.end());
      EXPECT_EQ(Show(joined), Show(whole.events));
      EXPECT_EQ(rest.prompt_ids, whole.prompt_ids);
      ExpectEqualButForTheCache(rest, whole);
    }
    EXPECT_TRUE(worker_->WaitUntilIdle());
  }

  static std::string Show(const OutputEvents::Events& events) {
    const Joined all = Join(events);
    std::string logprobs;
    for (const v1::TokenLogprob& logprob : LogprobsOf(events)) {
      absl::StrAppend(&logprobs, logprob.ShortDebugString(), " ");
    }
    const auto ids = [](const std::vector<std::int32_t>& list) {
      std::string text;
      for (const std::int32_t id : list) absl::StrAppend(&text, id, " ");
      return text;
    };
    return absl::StrCat(all.order, "|", all.reasoning, "|", ids(all.reasoning_ids), "|",
                        ids(all.closing_ids), "|", all.answer, "|", ids(all.answer_ids), "|",
                        ids(all.last_ids), "|", all.reasoning_finished.ShortDebugString(), "|",
                        all.finished.ShortDebugString(), "|", logprobs);
  }

  static void ExpectEqualButForTheCache(const Outcome& rest, const Outcome& whole) {
    v1::Started started = rest.started;
    started.set_cached_prompt_tokens(whole.started.cached_prompt_tokens());
    EXPECT_EQ(started.ShortDebugString(), whole.started.ShortDebugString());
    const v1::Usage& usage = rest.completed.usage();
    EXPECT_EQ(usage.prompt_tokens(), whole.completed.usage().prompt_tokens());
    EXPECT_EQ(usage.reasoning_tokens(), whole.completed.usage().reasoning_tokens());
    EXPECT_EQ(usage.answer_tokens(), whole.completed.usage().answer_tokens());
    EXPECT_GE(usage.discarded_tokens(), 0);
    EXPECT_EQ(rest.completed.timings().has_reasoning(), whole.completed.timings().has_reasoning());
  }

  std::unique_ptr<FakeWorker> worker_;
};

TEST_F(ResumeTest, AnyCutOfAnOutputThatEndsGivesTheWhole) {
  for (const Script& script : EndsOfAllKinds()) TryEveryCut(script);
}

TEST_F(ResumeTest, AnyCutOfAnOutputThatIsFullGivesTheWhole) {
  for (const Script& script : Lengths()) TryEveryCut(script);
}

TEST_F(ResumeTest, AnyCutOfAnOutputWhoseFirstPhaseIsTheModelsGivesTheWhole) {
  for (const Script& script : OpenTurns()) TryEveryCut(script);
}

TEST_F(ResumeTest, WhatTheIdsHaveCompletedCountsAsSentWhereNothingIsSaid) {
  for (const Script& script : EndsOfAllKinds()) TryEveryCut(script, false);
  for (const Script& script : Lengths()) TryEveryCut(script, false);
}

TEST_F(ResumeTest, TextThatWasLostIsSentAgain) {
  const Script script =
      Written("", Ids("abc") + std::vector{kThinkEnd} + Ids("d") + std::vector{kEos});
  Serve(script);
  v1::ResumeState state = StateAfter({kBos, 'q', kThink}, v1::PHASE_REASONING, {});
  for (const std::int32_t id : Ids("ab")) state.mutable_outputs(0)->add_token_ids(id);
  state.mutable_outputs(0)->set_reasoning_tokens(2);
  state.mutable_outputs(0)->set_reasoning_text_bytes(1);
  const Joined rest = Join(Run(script.request, &state).events);
  EXPECT_EQ(rest.reasoning, "bc");
  EXPECT_EQ(rest.reasoning_ids, Ids("c"));
}

TEST_F(ResumeTest, TextThatWasLetGoIsNotSentAgain) {
  Script script = Written("", {'a', 259, 'x', kEos});  // "sto" may become "stop"
  script.request.mutable_sampling()->add_stop_strings("stop");
  Serve(script);
  v1::ResumeState state = StateAfter({kBos, 'q', kThink}, v1::PHASE_REASONING, {});
  v1::OutputState& output = *state.mutable_outputs(0);
  output.add_token_ids('a');
  output.add_token_ids(259);
  output.set_reasoning_tokens(2);
  output.set_reasoning_text_bytes(3);  // "ast"
  EXPECT_EQ(Join(Run(script.request, &state).events).reasoning, "ox");
}

TEST_F(ResumeTest, SteeredThinkingGoesOnAsItWouldHave) {
  for (const Script& script : Steered()) TryEveryCut(script);
}

TEST_F(ResumeTest, AnAnswerInAFormatGoesOnAsItWouldHave) {
  for (const Script& script : Formatted()) TryEveryCut(script);
}

TEST_F(ResumeTest, WhatAnEarlierWorkerSettledHolds) {
  Script script = Written("", std::vector<std::int32_t>(12, 'h'));
  script.request.set_max_tokens(20);
  script.request.mutable_thinking()->set_budget_tokens(6);
  Serve(script);
  v1::ResumeState state = StateAfter({kBos, 'q', kThink}, v1::PHASE_REASONING, {});
  state.mutable_effective()->set_reasoning_budget_tokens(9);
  for (const std::int32_t id : Ids("ok")) state.mutable_effective()->add_closing_token_ids(id);
  const Outcome rest = Run(script.request, &state);
  EXPECT_EQ(Join(rest.events).reasoning, "hhhhhhhok");
  EXPECT_EQ(rest.started.limits().reasoning_budget_tokens(), 9);
  EXPECT_EQ(rest.completed.usage().forced_tokens(), 3);

  worker_->model.thinking.max_tokens = 8;
  EXPECT_EQ(rpc::ErrorReason(worker_->reader.Read(script.request, &state).status()),
            "OPTIONS_DIFFER");
}

// Three ids were drawn, and the first of the closing text "ok" is there.
v1::ResumeState StateWithinTheClosing() {
  v1::ResumeState state = StateAfter({kBos, 'q', kThink}, v1::PHASE_REASONING, {});
  v1::OutputState& output = *state.mutable_outputs(0);
  for (const std::int32_t id : Ids("hhho")) output.add_token_ids(id);
  output.set_reasoning_tokens(4);
  output.set_forced_tokens(1);
  output.add_forced_ranges()->set_first(3);
  output.mutable_forced_ranges(0)->set_count(1);
  return state;
}

TEST_F(ResumeTest, WhatAnswerNowHasClosedIsClosedWhereItWas) {
  Script script = Written("", std::vector<std::int32_t>(30, 'h'));
  script.request.set_max_tokens(20);
  script.request.mutable_thinking()->set_closing_text("ok");
  Serve(script);
  const v1::ResumeState state = StateWithinTheClosing();
  const Joined rest = Join(Run(script.request, &state).events);
  EXPECT_EQ(rest.reasoning, "k");
  EXPECT_EQ(rest.reasoning_finished.cause(), v1::REASONING_FINISH_CAUSE_ANSWER_NOW);
  EXPECT_EQ(rest.answer, std::string(14, 'h'));
}

TEST_F(ResumeTest, WhatTheDeadlineHasClosedIsClosedWhereItWas) {
  Script script = Written("", std::vector<std::int32_t>(30, 'h'));
  script.request.set_max_tokens(20);
  script.request.mutable_thinking()->set_closing_text("ok");
  script.request.mutable_thinking()->set_budget_from_deadline(true);
  Serve(script);
  v1::ResumeState state = StateWithinTheClosing();
  const Joined guessed = Join(Run(script.request, &state).events);
  EXPECT_EQ(guessed.reasoning, "k");
  EXPECT_EQ(guessed.reasoning_finished.cause(), v1::REASONING_FINISH_CAUSE_DEADLINE);

  script.request.mutable_thinking()->clear_budget_from_deadline();
  state.mutable_outputs(0)->set_reasoning_cause(v1::REASONING_FINISH_CAUSE_DEADLINE);
  state.mutable_outputs(0)->set_closing_position(3);
  const Joined told = Join(Run(script.request, &state).events);
  EXPECT_EQ(told.reasoning_finished.cause(), v1::REASONING_FINISH_CAUSE_DEADLINE);
  EXPECT_EQ(told.answer, std::string(14, 'h'));
}

TEST_F(ResumeTest, ForcedIdsThatTheOptionsDoNotForceAreRefused) {
  Script script = Written("", {'a', kThinkEnd, kEos});
  script.request.mutable_thinking()->set_budget_tokens(2);
  script.request.mutable_thinking()->set_closing_text("");
  Serve(script);
  v1::ResumeState state = StateAfter({kBos, 'q', kThink}, v1::PHASE_REASONING, {});
  v1::OutputState& output = *state.mutable_outputs(0);
  for (const std::int32_t id : Ids("abc")) output.add_token_ids(id);
  output.set_reasoning_tokens(3);
  const absl::Status status = worker_->reader.Read(script.request, &state).status();
  EXPECT_TRUE(absl::StrContains(status.message(), "token_ids[2]")) << status;
}

TEST_F(ResumeTest, TheTimeOfReasoningAndForcedTokensGoOn) {
  const Script script = Written("", {'a', 'b', kThinkEnd, 'c', kEos});
  Serve(script);
  v1::ResumeState state = StateAfter({kBos, 'q', kThink}, v1::PHASE_REASONING, {});
  v1::OutputState& output = *state.mutable_outputs(0);
  output.add_token_ids('a');
  output.set_reasoning_tokens(1);
  output.set_forced_tokens(1);
  output.mutable_reasoning_duration()->set_seconds(7);
  const Outcome rest = Run(script.request, &state);
  const auto finished = std::ranges::find_if(
      rest.events, [](const auto& event) { return event.has_reasoning_finished(); });
  ASSERT_NE(finished, rest.events.end());
  EXPECT_GE(finished->reasoning_finished().duration().seconds(), 7);
  EXPECT_GE(rest.completed.timings().reasoning().seconds(), 7);
  EXPECT_EQ(rest.completed.usage().forced_tokens(), 1);
}

// The worker that told of the end had another fingerprint: the reader must not see more reasoning.
TEST_F(ResumeTest, AnEndThatWasToldStaysTheEndThoughTheModelWouldGoOn) {
  const Script script = Written("", {'a', 'b', kThinkEnd, 'c', kEos});
  Serve(script);
  v1::ResumeState state = StateAfter({kBos, 'q', kThink}, v1::PHASE_REASONING, {});
  v1::OutputState& output = *state.mutable_outputs(0);
  output.add_token_ids('a');
  output.set_reasoning_tokens(1);
  output.set_reasoning_finished(true);
  const Outcome rest = Run(script.request, &state);
  const Joined all = Join(rest.events);
  EXPECT_EQ(all.order, "F");
  EXPECT_EQ(all.finished.reason(), v1::FINISH_REASON_END);
  EXPECT_EQ(all.last_ids, std::vector{kEos});
  EXPECT_EQ(rest.completed.usage().reasoning_tokens(), 2);
  EXPECT_TRUE(worker_->WaitUntilIdle());
}

TEST_F(ResumeTest, AnOutputThatIsOverTakesNoStep) {
  const Script script = Written("", {'a', kEos});
  Serve(script);
  const Outcome whole = Run(script.request);
  const v1::ResumeState state = StateAfter(whole.prompt_ids, v1::PHASE_REASONING, whole.events);
  EXPECT_TRUE(worker_->WaitUntilIdle());
  const std::uint64_t steps = worker_->engine.status().steps;
  const Outcome rest = Run(script.request, &state);
  EXPECT_TRUE(rest.events.empty());
  EXPECT_EQ(rest.completed.usage().reasoning_tokens(), 2);
  EXPECT_EQ(worker_->engine.status().steps, steps);
}

TEST_F(ResumeTest, ThePromptMayBeRenderedAgain) {
  const Script script = Written("", {'a', kThinkEnd, 'b', kEos});
  Serve(script);
  v1::ResumeState state = StateAfter({}, v1::PHASE_REASONING, {});
  state.set_prompt_tokens(3);
  state.mutable_outputs(0)->add_token_ids('a');
  state.mutable_outputs(0)->set_reasoning_tokens(1);
  EXPECT_EQ(Join(Run(script.request, &state).events).order, "RaF");
  state.set_prompt_tokens(4);
  const auto reading = worker_->reader.Read(script.request, &state);
  EXPECT_EQ(reading.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(rpc::ErrorReason(reading.status()), "PROMPT_DIFFERS");
}

TEST_F(ResumeTest, CachedTokensAreThePromptsAlone) {
  const Script script = Written("", Ids(std::string(40, 'a')) + std::vector{kEos});
  Serve(script);
  const Outcome whole = Run(script.request);
  OutputEvents::Events most = OneByOne(script.request, whole);
  most.resize(36);
  const v1::ResumeState state = StateAfter(whole.prompt_ids, v1::PHASE_REASONING, most);
  EXPECT_EQ(Run(script.request, &state).started.cached_prompt_tokens(), 3);
}

// What the engine's end finds held back is for whoever goes on to say.
TEST_F(ResumeTest, AWorkerThatShutsDownLetsGoOfNothing) {
  Script script = Written("", {'\n', ' ', kThink, 'a', 259, 0xC3, 0xA9, 'x', kThinkEnd, kEos});
  script.request.mutable_prompt()->set_text(kOpenTurn);
  script.request.mutable_sampling()->add_stop_strings("stop");
  for (int steps = 1; steps <= 8; ++steps) {
    SCOPED_TRACE(absl::StrCat(steps, " steps"));
    Serve(script);
    worker_->runner.CloseGate();
    worker_->runner.LetThrough(steps);
    auto sink = std::make_shared<FakeSink>(kUnlimited);
    Start(*worker_, script.request, sink);
    worker_->runner.WaitUntilBlocked();
    std::thread stop([this] { worker_->engine.Stop(); });
    WaitUntilStopping();
    worker_->runner.OpenGate();
    stop.join();
    const absl::Status status = sink->WaitUntilEnded();
    EXPECT_EQ(rpc::ErrorReason(status), "DRAINING") << status;
    EXPECT_TRUE(rpc::RetryAfter(status));
    Outcome lost = OutcomeOf(sink->messages());
    const v1::ResumeState state =
        StateAfter(lost.prompt_ids, lost.started.first_phase(), lost.events);
    Serve(script);
    const Outcome rest = Run(script.request, &state);
    lost.events.insert(lost.events.end(), rest.events.begin(), rest.events.end());
    EXPECT_EQ(Show(lost.events), Show(Run(script.request).events));
  }
}

TEST_F(ResumeTest, WhatComesAfterTheEnginesEndIsToldToGoElsewhere) {
  const Script script = Written("", {'a', kEos});
  Serve(script);
  worker_->engine.Stop();
  auto sink = std::make_shared<FakeSink>(kUnlimited);
  Start(*worker_, script.request, sink);
  EXPECT_EQ(rpc::ErrorReason(sink->WaitUntilEnded()), "DRAINING");
}

// A state that says "ab", of which both bytes were sent, and what is wrong with a changed one.
struct Refused {
  std::string field;
  void (*change)(v1::ResumeState&);
};

TEST_F(ResumeTest, StatesThatContradictThemselvesAreRefusedByName) {
  const Script script = Written("", {'a', 'b', kEos});
  Serve(script);
  v1::GenerateRequest request = script.request;
  request.set_max_tokens(8);
  request.mutable_answer_sampling()->add_stop_strings("stop");
  v1::ResumeState good = StateAfter({kBos, 'q', kThink}, v1::PHASE_REASONING, {});
  good.mutable_outputs(0)->add_token_ids('a');
  good.mutable_outputs(0)->add_token_ids('b');
  good.mutable_outputs(0)->set_reasoning_tokens(2);
  good.mutable_outputs(0)->set_reasoning_text_bytes(2);
  ASSERT_TRUE(worker_->reader.Read(request, &good).ok());
  const Refused cases[] = {
      {"resume.prompt_ids[1]", [](auto& s) { s.set_prompt_ids(1, kVocabulary); }},
      {"resume.outputs[0].token_ids[0]",
       [](auto& s) { s.mutable_outputs(0)->set_token_ids(0, kVocabulary); }},
      {"resume.outputs[0].token_ids[1]",
       [](auto& s) { s.mutable_outputs(0)->set_token_ids(0, kEos); }},
      {"resume.outputs[0].token_ids",
       [](auto& s) {
         for (int i = 0; i < 7; ++i) s.mutable_outputs(0)->add_token_ids('c');
       }},
      {"resume.outputs[0].phase",
       [](auto& s) { s.mutable_outputs(0)->set_phase(v1::PHASE_ANSWER); }},
      {"resume.outputs[0].phase",
       [](auto& s) { s.mutable_outputs(0)->set_phase(v1::PHASE_UNSPECIFIED); }},
      {"resume.outputs[0].reasoning_tokens",
       [](auto& s) { s.mutable_outputs(0)->set_reasoning_tokens(1); }},
      {"resume.outputs[0].finished", [](auto& s) { s.mutable_outputs(0)->set_finished(true); }},
      {"resume.outputs[0].finished", [](auto& s) { s.mutable_outputs(0)->set_token_ids(1, kEos); }},
      {"resume.outputs[0].reasoning_finished",
       [](auto& s) { s.mutable_outputs(0)->set_token_ids(1, kThinkEnd); }},
      {"resume.outputs[0].reasoning_finished",
       [](auto& s) {
         s.mutable_outputs(0)->clear_token_ids();
         s.mutable_outputs(0)->set_reasoning_tokens(0);
         s.mutable_outputs(0)->set_reasoning_finished(true);
       }},
      {"resume.outputs[0].reasoning_text_bytes",
       [](auto& s) { s.mutable_outputs(0)->set_reasoning_text_bytes(3); }},
      {"resume.outputs[0].answer_text_bytes",
       [](auto& s) { s.mutable_outputs(0)->set_answer_text_bytes(1); }},
      {"resume.outputs[0].reasoning_text_bytes",
       [](auto& s) {
         s.mutable_outputs(0)->set_token_ids(1, kThinkEnd);
         s.mutable_outputs(0)->set_reasoning_finished(true);
         s.mutable_outputs(0)->set_reasoning_text_bytes(0);
       }},
      {"resume.outputs[0].reasoning_text_bytes",
       [](auto& s) {
         s.mutable_outputs(0)->set_token_ids(0, 0xC3);
         s.mutable_outputs(0)->set_token_ids(1, 0xA9);
         s.mutable_outputs(0)->set_reasoning_text_bytes(1);
       }},
  };
  for (const Refused& refused : cases) {
    v1::ResumeState state = good;
    refused.change(state);
    SCOPED_TRACE(state.ShortDebugString());
    const auto reading = worker_->reader.Read(request, &state);
    EXPECT_EQ(reading.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(absl::StartsWith(reading.status().message(), refused.field + " "))
        << reading.status();
  }
}

TEST_F(ResumeTest, WhatIgnoresEndsHasNotEndedItsReasoningByOne) {
  Script script = Written("", {'a'});
  script.request.set_ignore_eos(true);
  Serve(script);
  v1::ResumeState state = StateAfter({kBos, 'q', kThink}, v1::PHASE_REASONING, {});
  state.mutable_outputs(0)->add_token_ids('a');
  state.mutable_outputs(0)->set_reasoning_tokens(1);
  state.mutable_outputs(0)->set_reasoning_finished(true);
  const auto reading = worker_->reader.Read(script.request, &state);
  EXPECT_TRUE(absl::StartsWith(reading.status().message(), "resume.outputs[0].reasoning_finished"))
      << reading.status();
}

TEST_F(ResumeTest, IdsAfterAStopStringAreRefused) {
  Script script = Written("", {'a'});
  script.request.mutable_sampling()->add_stop_strings("\n");
  script.request.mutable_prompt()->set_text(kOpenTurn);
  Serve(script);
  v1::ResumeState state = StateAfter({}, v1::PHASE_ANSWER, {});
  state.set_prompt_tokens(4);
  for (const std::int32_t id : Ids("\n b")) state.mutable_outputs(0)->add_token_ids(id);
  const auto reading = worker_->reader.Read(script.request, &state);
  EXPECT_EQ(reading.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StartsWith(reading.status().message(), "resume.outputs[0].token_ids "))
      << reading.status();
}

TEST(CheckResumableTest, WhatFitsNoMessageIsRefusedByName) {
  EXPECT_TRUE(CheckResumable(1000, 1, kMaxResumableTokens - 1000).ok());
  EXPECT_TRUE(CheckResumable(0, 64, kMaxResumableTokens / 64).ok());
  const absl::Status one = CheckResumable(1001, 1, kMaxResumableTokens - 1000);
  EXPECT_EQ(rpc::ErrorReason(one), "NOT_RESUMABLE");
  EXPECT_EQ(rpc::ErrorMetadata(one, "field"), "max_tokens");
  EXPECT_EQ(rpc::ErrorMetadata(CheckResumable(0, 64, 10'000), "field"), "n");
}

}  // namespace
}  // namespace thinkwire::worker::serve

// A request whose reasoning came to no answer, over fake workers of several variants.

#include "router/escalation.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/status_details.h"
#include "common/rpc/stream_contract.h"
#include "router/decision/score_policy.h"
#include "router/generation.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_worker.h"
#include "tests/router/event_sink.h"
#include "tests/router/fleet/pool_fixture.h"

namespace thinkwire::router {
namespace {

using Code = absl::StatusCode;
using Events = std::vector<v1::GenerateResponse>;

constexpr v1::ReasoningFinishCause kLoop = v1::REASONING_FINISH_CAUSE_LOOP;
constexpr v1::ReasoningFinishCause kLength = v1::REASONING_FINISH_CAUSE_LENGTH;

absl::Status Lost() { return absl::UnavailableError("connection reset"); }

// Queued, Started, two ids of thought, and then no answer.
Events Unanswered(v1::ReasoningFinishCause cause = kLoop) {
  Events events = SmallStream();
  events.erase(events.begin() + 4);
  v1::ReasoningFinished& reasoned = *events[3].mutable_reasoning_finished();
  reasoned.set_cause(cause);
  reasoned.set_reasoning_tokens(2);
  reasoned.clear_token_ids();
  v1::Finished& finished = *events[4].mutable_finished();
  finished.set_reason(cause == kLoop ? v1::FINISH_REASON_LOOP : v1::FINISH_REASON_LENGTH);
  finished.set_phase(v1::PHASE_REASONING);
  finished.clear_token_ids();
  finished.mutable_tokens()->set_reasoning_tokens(2);
  finished.mutable_tokens()->clear_answer_tokens();
  v1::Usage& usage = *events[5].mutable_completed()->mutable_usage();
  usage.set_reasoning_tokens(2);
  usage.clear_answer_tokens();
  return events;
}

Events FirstOf(Events events, std::size_t number) {
  events.resize(number);
  return events;
}

// Three variants, each the better one of the one before, of two workers each.
class EscalationTest : public testing::Test {
 protected:
  static constexpr std::size_t kSmall = 0, kMiddle = 2, kLarge = 4;  // the first worker of each

  EscalationTest() {
    for (FakeWorker& worker : workers_) {
      worker.SetScript({.events = SmallStream(), .unanswered = Unanswered()});
    }
    EXPECT_TRUE(pool_.TickUntilLive(3));
  }
  ~EscalationTest() override {
    for (const auto& generation : generations_) generation->Cancel();
    generations_.clear();
    EXPECT_TRUE(registry_.WaitUntilEmpty(std::chrono::seconds(60)));
  }

  static v1::GenerateRequest Question(const std::string& variant = "middle") {
    v1::GenerateRequest request;
    request.mutable_prompt()->set_text("1+1?");
    request.set_variant(variant);
    request.mutable_wishes()->set_may_substitute(true);
    request.set_seed(7);
    return request;
  }
  std::shared_ptr<TestSink> Ask(const v1::GenerateRequest& request = Question(),
                                std::size_t room = 1000) {
    auto sink = std::make_shared<TestSink>(room);
    generations_.push_back(Generation::Make({.variants = variants_,
                                             .policy = policy_,
                                             .pool = *pool_,
                                             .metrics = metrics_,
                                             .registry = registry_,
                                             .clock = clock_,
                                             .retries = retries_,
                                             .moves = moves_,
                                             .queue = queue_ ? &*queue_ : nullptr},
                                            {}, sink));
    generations_.back()->Start(request);
    return sink;
  }
  // The same, to its end, which must be good and all by the contract. What was seen, Queued left
  // out.
  Events AskWell(const v1::GenerateRequest& request = Question()) {
    const auto sink = Ask(request);
    EXPECT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
    return Checked(sink->events(), request);
  }
  static Events Checked(const Events& events, const v1::GenerateRequest& request) {
    rpc::StreamContract contract(request);
    if (request.has_resume()) contract.Resume(request.resume());
    Events seen;
    for (const v1::GenerateResponse& event : events) {
      EXPECT_TRUE(contract.Add(event).ok()) << contract.Add(event) << event.DebugString();
      if (!event.has_queued()) seen.push_back(event);
    }
    EXPECT_TRUE(contract.End().ok()) << contract.End();
    return seen;
  }
  // One letter an event: Started, reasonIng, Reasoning finished, Answer, Finished, Moved, Begun
  // anew, Completed.
  // What a client would ask elsewhere who has all before the end of the first thought.
  static v1::GenerateRequest AskOn() {
    Ledger ledger;
    for (std::size_t i = 0; i < 3; ++i) {
      v1::WorkerGenerateResponse message;
      *message.mutable_event() = SmallStream()[i];
      ledger.Add(message, {});
    }
    v1::GenerateRequest request = Question();
    request.set_max_tokens(1000);
    *request.mutable_resume() = ledger.MakeResumeState();
    return request;
  }
  static std::string Shape(const Events& events) {
    std::string shape;
    for (const v1::GenerateResponse& event : events) shape += "?QSIRAFMCBP"[event.event_case()];
    return shape;
  }

  void SetDraining(std::size_t worker, bool draining = true) {
    workers_[worker].SetStatus([=](auto& status) { status.set_draining(draining); });
  }
  double Escalations(const std::string& outcome) {
    double sum = 0;
    for (const auto& family : metrics_registry_.Collect()) {
      if (family.name != "thinkwire_router_escalations_total") continue;
      for (const auto& metric : family.metric) {
        for (const auto& label : metric.label) {
          if (label.value == outcome) sum += metric.counter.value;
        }
      }
    }
    return sum;
  }
  v1::WorkerGenerateRequest RequestAt(std::size_t worker) const {
    return workers_[worker].last_call().request;
  }

  std::deque<FakeWorker> MakeWorkers() {
    std::deque<FakeWorker> workers;
    for (const char* name : {"small", "small", "middle", "middle", "large", "large"}) {
      workers.emplace_back(name);
    }
    return workers;
  }
  std::vector<std::string> AddressesFrom(std::size_t first) const {
    return {workers_[first].address(), workers_[first + 1].address()};
  }

  FakeClock clock_;
  std::deque<FakeWorker> workers_ = MakeWorkers();
  const std::vector<VariantConfig> variants_{
      {.name = "small", .workers = AddressesFrom(kSmall), .escalate_to = "middle"},
      {.name = "middle", .workers = AddressesFrom(kMiddle), .escalate_to = "large"},
      {.name = "large", .workers = AddressesFrom(kLarge)}};
  prometheus::Registry metrics_registry_;
  RouterMetrics metrics_{metrics_registry_, {"small", "middle", "large"}};
  const decision::ScorePolicy policy_{variants_};
  fleet::PoolUnderTest pool_{variants_, clock_};
  RetryBudget retries_;
  MoveSchedule moves_{clock_};
  GenerationRegistry registry_;
  std::optional<admission::DispatchQueue> queue_;
  std::vector<std::shared_ptr<Generation>> generations_;
};

TEST_F(EscalationTest, WithoutAnAnswerItBeginsAnewAtTheBetterVariant) {
  for (const v1::ReasoningFinishCause cause : {kLoop, kLength}) {
    workers_[kMiddle].SetScript({.events = SmallStream(), .unanswered = Unanswered(cause)});
    workers_[kMiddle + 1].SetScript({.events = SmallStream(), .unanswered = Unanswered(cause)});
    const Events seen = AskWell();
    ASSERT_EQ(Shape(seen), "SIBIRAFC");
    const v1::Restarted& restarted = seen[2].restarted();
    EXPECT_EQ(restarted.variant(), "large");
    EXPECT_TRUE(restarted.worker() == workers_[kLarge].address() ||
                restarted.worker() == workers_[kLarge + 1].address());
    EXPECT_EQ(restarted.reason(),
              cause == kLoop ? "middle went in circles" : "middle had no room left for an answer");
    EXPECT_EQ(restarted.cause(), cause);
    EXPECT_EQ(restarted.fingerprint(), "fake");
    EXPECT_EQ(restarted.limits().max_tokens(), 1000);
    EXPECT_EQ(restarted.prompt_tokens(), 3);
    EXPECT_EQ(restarted.first_phase(), v1::PHASE_REASONING);
    const v1::Completed& completed = seen.back().completed();
    EXPECT_EQ(completed.usage().discarded_tokens(), 2 + 1 + 1) << "two sent, one more each";
    EXPECT_EQ(completed.usage().reasoning_tokens(), 3);
    EXPECT_EQ(completed.usage().prompt_tokens(), 3);
    EXPECT_EQ(completed.resumes(), 0);
  }
  EXPECT_EQ(Escalations("restarted"), 2);
  EXPECT_EQ(Escalations("stayed"), 0);
}

TEST_F(EscalationTest, TheNextVariantIsAskedWhatTheClientAsked) {
  SetDraining(kLarge + 1);
  ASSERT_TRUE(pool_.WaitForLive(2, 1));
  v1::GenerateRequest request = Question();
  request.set_max_tokens(5000);
  request.set_clamp_max_tokens(true);
  workers_[kLarge].SetScript({.events = SmallStream(), .tamper = [](auto& message) {
                                if (!message.event().has_started()) return;
                                v1::Limits& limits =
                                    *message.mutable_event()->mutable_started()->mutable_limits();
                                limits.set_max_tokens(4000);
                              }});
  for (const std::size_t worker : {kMiddle, kMiddle + 1}) {
    workers_[worker].SetScript(
        {.events = SmallStream(), .unanswered = Unanswered(), .tamper = [](auto& message) {
           if (!message.event().has_started()) return;
           message.mutable_event()->mutable_started()->mutable_limits()->set_max_tokens(300);
         }});
  }
  const Events seen = AskWell(request);
  ASSERT_EQ(Shape(seen), "SIBIRAFC");
  EXPECT_EQ(seen[0].started().limits().max_tokens(), 300);
  EXPECT_EQ(seen[2].restarted().limits().max_tokens(), 4000);
  const v1::WorkerGenerateRequest asked = RequestAt(kLarge);
  EXPECT_EQ(asked.attempt(), 2);
  EXPECT_EQ(asked.request_id(), generations_.back()->request_id());
  EXPECT_EQ(asked.request().prompt().text(), "1+1?");
  EXPECT_EQ(asked.request().max_tokens(), 5000);
  EXPECT_TRUE(asked.request().clamp_max_tokens());
  EXPECT_EQ(asked.request().seed(), 7u);
  EXPECT_FALSE(asked.has_resume());
  EXPECT_FALSE(asked.end_without_answer()) << "there is no better one";
}

TEST_F(EscalationTest, WhatTheNextWorkerHasSettledIsTold) {
  for (const std::size_t worker : {kLarge, kLarge + 1}) {
    workers_[worker].SetScript(
        {.events = SmallStream(), .tamper = [](auto& message) {
           if (!message.event().has_started()) return;
           message.mutable_event()->mutable_started()->mutable_effective()->set_min_answer_tokens(
               77);
         }});
  }
  const Events seen = AskWell();
  ASSERT_EQ(Shape(seen), "SIBIRAFC");
  EXPECT_EQ(seen[2].restarted().effective().min_answer_tokens(), 77);
}

TEST_F(EscalationTest, ARequestThatGoesOnFromAnEarlierStreamBeginsAnewToo) {
  const v1::GenerateRequest request = AskOn();
  const Events seen = AskWell(request);
  ASSERT_EQ(Shape(seen), "SBIRAFC") << "all of the thought had been sent before";
  EXPECT_EQ(seen[1].restarted().variant(), "large");
  const v1::Usage& usage = seen.back().completed().usage();
  EXPECT_EQ(usage.discarded_tokens(), 2 + 1 + 1) << "what it came with is void, too";
  EXPECT_EQ(usage.reasoning_tokens(), 3);
  const bool first = seen[1].restarted().worker() == workers_[kLarge].address();
  const v1::WorkerGenerateRequest asked = RequestAt(first ? kLarge : kLarge + 1);
  EXPECT_FALSE(asked.has_resume());
  EXPECT_FALSE(asked.request().has_resume());
  EXPECT_EQ(asked.request().prompt().text(), "1+1?");
  EXPECT_EQ(asked.request().seed(), 7u);
}

TEST_F(EscalationTest, WhereNobodyElseCanOneThatGoesOnAnswersWhereItIs) {
  for (const std::size_t worker : {kLarge, kLarge + 1}) SetDraining(worker);
  ASSERT_TRUE(pool_.WaitForLive(2, 0));
  const Events seen = AskWell(AskOn());
  EXPECT_EQ(Shape(seen), "SRAFC");
  EXPECT_EQ(seen.back().completed().usage().reasoning_tokens(), 3);
  EXPECT_EQ(Escalations("stayed"), 1);
}

TEST_F(EscalationTest, UnaskedItAnswersWhereItIs) {
  v1::GenerateRequest request = Question();
  request.clear_wishes();
  EXPECT_EQ(Shape(AskWell(request)), "SIRAFC");
  request = Question("large");
  EXPECT_EQ(Shape(AskWell(request)), "SIRAFC");
}

TEST_F(EscalationTest, ItClimbsAtMostTwoVariants) {
  const Events seen = AskWell(Question("small"));
  ASSERT_EQ(Shape(seen), "SIBIBIRAFC");
  EXPECT_EQ(seen[2].restarted().variant(), "middle");
  EXPECT_EQ(seen[4].restarted().variant(), "large");
  EXPECT_EQ(seen[4].restarted().reason(), "middle went in circles");
  EXPECT_EQ(seen.back().completed().usage().discarded_tokens(), 2 + 1 + 2 + 1 + 1);
}

TEST_F(EscalationTest, WithoutALiveBetterWorkerItGoesOnAndAnswers) {
  for (const std::size_t worker : {kLarge, kLarge + 1}) SetDraining(worker);
  ASSERT_TRUE(pool_.WaitForLive(2, 0));
  const Events seen = AskWell();
  EXPECT_EQ(Shape(seen), "SIRAFC") << "at the same worker: no move that the client sees";
  EXPECT_EQ(seen.back().completed().usage().discarded_tokens(), 1);
  EXPECT_EQ(seen.back().completed().usage().reasoning_tokens(), 3);
  EXPECT_EQ(seen.back().completed().resumes(), 0);
  EXPECT_EQ(Escalations("stayed"), 1);
  const bool first = seen[0].started().worker() == workers_[kMiddle].address();
  const v1::WorkerGenerateRequest asked = RequestAt(first ? kMiddle : kMiddle + 1);
  EXPECT_EQ(asked.attempt(), 2);
  EXPECT_FALSE(asked.end_without_answer());
  EXPECT_FALSE(asked.request().has_prompt());
  EXPECT_EQ(asked.request().max_tokens(), 1000) << "as Started told";
  EXPECT_EQ(asked.resume().prompt_ids_size(), 3);
  EXPECT_EQ(asked.resume().outputs(0).token_ids_size(), 2);
  EXPECT_FALSE(asked.resume().outputs(0).reasoning_finished());
}

TEST_F(EscalationTest, WhereItsOwnWorkerTakesNothingMoreAnotherGoesOn) {
  for (const std::size_t worker : {kLarge, kLarge + 1}) SetDraining(worker);
  SetDraining(kMiddle + 1);
  ASSERT_TRUE(pool_.WaitForLive(2, 0) && pool_.WaitForLive(1, 1));
  const auto sink = Ask(Question(), 1);  // Started waits for room
  ASSERT_TRUE(sink->WaitForRefusals(1));
  SetDraining(kMiddle + 1, false);
  ASSERT_TRUE(pool_.WaitForLive(1, 2));
  SetDraining(kMiddle);
  ASSERT_TRUE(pool_.WaitForLive(1, 1));
  sink->MakeRoom(1000);
  generations_.back()->Resume();
  ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
  const Events seen = Checked(sink->events(), Question());
  ASSERT_EQ(Shape(seen), "SIMRAFC");
  EXPECT_EQ(seen[2].moved().worker(), workers_[kMiddle + 1].address());
  EXPECT_TRUE(seen[2].moved().exact());
  EXPECT_EQ(seen.back().completed().resumes(), 1);
}

TEST_F(EscalationTest, ABetterWorkerThatDoesNotBeginIsFollowedByTheNext) {
  workers_[kLarge].SetScript({.end = rpc::Error(Code::kResourceExhausted, "QUEUE_FULL", "full")});
  const Events seen = AskWell();
  ASSERT_EQ(Shape(seen), "SIBIRAFC");
  EXPECT_EQ(seen[2].restarted().worker(), workers_[kLarge + 1].address());
  EXPECT_EQ(RequestAt(kLarge + 1).attempt(), 3);
}

TEST_F(EscalationTest, WhereNoBetterWorkerBeginsItGoesOnAndAnswers) {
  workers_[kLarge].SetScript({.events = FirstOf(SmallStream(), 1), .end = Lost()});
  workers_[kLarge + 1].SetScript(
      {.end = rpc::Error(Code::kInvalidArgument, "INVALID_FIELD", "the prompt is too long")});
  const Events seen = AskWell();
  EXPECT_EQ(Shape(seen), "SIRAFC");
  EXPECT_EQ(seen.back().completed().usage().discarded_tokens(), 1);
  EXPECT_EQ(Escalations("stayed"), 1);
  EXPECT_EQ(Escalations("restarted"), 0);
}

TEST_F(EscalationTest, ABetterWorkerThatIsLostLaterIsFollowedByAnother) {
  workers_[kLarge].SetScript({.events = FirstOf(SmallStream(), 3), .end = Lost()});
  const Events seen = AskWell();
  ASSERT_EQ(Shape(seen), "SIBIMRAFC");
  EXPECT_EQ(seen[4].moved().worker(), workers_[kLarge + 1].address());
  EXPECT_EQ(seen.back().completed().resumes(), 1);
  EXPECT_EQ(seen.back().completed().usage().discarded_tokens(), 2 + 1 + 1);
  const v1::WorkerGenerateRequest asked = RequestAt(kLarge + 1);
  EXPECT_EQ(asked.attempt(), 3);
  EXPECT_EQ(asked.resume().outputs(0).token_ids_size(), 2) << "of the new run";
}

TEST_F(EscalationTest, AWorkerThatIsLostBeforeItsEndIsFollowedByAnotherThatEndsSo) {
  for (std::size_t events = 3; events < Unanswered().size(); ++events) {
    SCOPED_TRACE(absl::StrCat(events, " events before the loss"));
    // Whichever of the two is asked first: then the other.
    const std::size_t first = events % 2 == 1 ? kMiddle : kMiddle + 1;
    const std::size_t second = kMiddle + kMiddle + 1 - first;
    SetDraining(second);
    ASSERT_TRUE(pool_.WaitForLive(1, 1));
    workers_[first].SetScript(
        {.events = SmallStream(), .unanswered = FirstOf(Unanswered(), events), .end = Lost()});
    const auto sink = Ask(Question(), 1);  // likewise
    ASSERT_TRUE(sink->WaitForRefusals(1));
    SetDraining(second, false);
    ASSERT_TRUE(pool_.WaitForLive(1, 2));
    sink->MakeRoom(1000);
    generations_.back()->Resume();
    ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
    const Events seen = Checked(sink->events(), Question());
    ASSERT_EQ(Shape(seen), "SIMBIRAFC");
    EXPECT_EQ(seen[2].moved().worker(), workers_[second].address());
    EXPECT_TRUE(RequestAt(second).end_without_answer());
    EXPECT_EQ(seen.back().completed().usage().discarded_tokens(), 2 + 1 + 1);
    workers_[first].SetScript({.events = SmallStream(), .unanswered = Unanswered()});
  }
}

TEST_F(EscalationTest, ACancelWhileTheEndIsHeldBackEndsIt) {
  for (FakeWorker* worker : {&workers_[kMiddle], &workers_[kMiddle + 1]}) {
    worker->SetScript({.unanswered = FirstOf(Unanswered(), 4), .stays_open = true});
  }
  const auto sink = Ask();
  ASSERT_TRUE(sink->WaitForEvents(3));
  generations_.back()->Cancel();
  EXPECT_TRUE(absl::IsCancelled(sink->WaitForEnd())) << sink->WaitForEnd();
  EXPECT_EQ(sink->events().size(), 3u);
  EXPECT_EQ(sink->usage()->reasoning_tokens(), 2);
}

TEST_F(EscalationTest, ACancelBeforeTheNextHasStartedTellsWhatTheFirstHasSpent) {
  SetDraining(kLarge + 1);
  ASSERT_TRUE(pool_.WaitForLive(2, 1));
  workers_[kLarge].SetScript({.events = FirstOf(SmallStream(), 1), .stays_open = true});
  const auto sink = Ask();
  ASSERT_TRUE(workers_[kLarge].WaitForCalls(1));
  generations_.back()->Cancel();
  EXPECT_TRUE(absl::IsCancelled(sink->WaitForEnd())) << sink->WaitForEnd();
  EXPECT_EQ(sink->usage()->reasoning_tokens(), 2);
  EXPECT_TRUE(workers_[kLarge].WaitForCancels(1));
}

TEST_F(EscalationTest, AnErrorAfterARestartTellsBothRuns) {
  workers_[kLarge].SetScript({.events = FirstOf(SmallStream(), 3),
                              .end = rpc::Error(Code::kInternal, "NOT_FINITE", "not finite")});
  const auto sink = Ask();
  EXPECT_EQ(rpc::ErrorReason(sink->WaitForEnd()), "NOT_FINITE");
  EXPECT_EQ(sink->usage()->reasoning_tokens(), 2);
  EXPECT_EQ(sink->usage()->discarded_tokens(), 2 + 1);
}

TEST_F(EscalationTest, WhoWantsAnAnswerNowDoesNotBeginAnew) {
  const auto sink = Ask(Question(), 1);  // Started waits for room
  ASSERT_TRUE(sink->WaitForRefusals(1));
  std::promise<absl::Status> told;
  generations_.back()->AnswerNow(std::nullopt,
                                 [&](const auto& outputs) { told.set_value(outputs.status()); });
  sink->MakeRoom(1000);
  generations_.back()->Resume();
  EXPECT_EQ(told.get_future().get(), absl::OkStatus());
  ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
  EXPECT_EQ(Shape(Checked(sink->events(), Question())), "SIRAFC");
  EXPECT_EQ(Escalations("stayed"), 1);
}

TEST_F(EscalationTest, ItTakesNobodysPlaceInTheQueue) {
  queue_.emplace(clock_);
  for (const std::size_t worker : {kLarge, kLarge + 1}) {
    workers_[worker].SetStatus([](auto& status) {
      status.set_max_num_seqs(1);
      status.set_max_model_len(4000);  // by which the pool tells that it has heard
    });
    workers_[worker].SetScript({.events = FirstOf(SmallStream(), 3), .stays_open = true});
  }
  ASSERT_TRUE(pool_.WaitUntil([&] { return pool_->Describe(2).max_model_len == 4000; }));
  for (int i = 0; i < 2 * (1 + LookAhead(1)); ++i) {
    ASSERT_TRUE(Ask(Question("large"))->WaitForEvents(3));
  }
  EXPECT_EQ(Shape(AskWell()), "SIRAFC");
  EXPECT_EQ(Escalations("stayed"), 1);
}

v1::GenerateRequest Parse(const std::string& text) {
  v1::GenerateRequest request;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request)) << text;
  return request;
}

TEST(MayEscalateTest, OnlyWhatEveryVariantUnderstandsMay) {
  const std::string asked = "wishes { may_substitute: true } ";
  EXPECT_TRUE(MayEscalate(Parse(asked + "prompt { text: 'x' } n: 1 sampling { top_k: 3 }")));
  EXPECT_FALSE(MayEscalate(Parse("prompt { text: 'x' }")));
  EXPECT_FALSE(MayEscalate(Parse("wishes { quality: 0.5 }")));
  for (const char* more :
       {"prompt { token_ids { ids: 1 } }", "sampling { logit_bias { key: 1 value: 1 } }",
        "reasoning_sampling { stop_token_ids: 1 }", "answer_sampling { stop_token_ids: 1 }",
        "resume { prompt_tokens: 1 }", "n: 2", "consensus { max_samples: 3 }",
        "thinking { mode: THINKING_MODE_OFF }"}) {
    EXPECT_FALSE(MayEscalate(Parse(asked + more))) << more;
  }
}

TEST(MayEscalateTest, OfOneThatGoesOnOnlyWhatHasAPromptAndStillReasons) {
  const auto may = [](const std::string& state) {
    return MayEscalate(
        Parse("wishes { may_substitute: true } prompt { text: 'x' } resume { " + state + " }"));
  };
  EXPECT_TRUE(may("prompt_tokens: 1"));
  EXPECT_TRUE(may("outputs { token_ids: 1 phase: PHASE_REASONING }"));
  EXPECT_FALSE(may("outputs { token_ids: 1 phase: PHASE_ANSWER }"));
  EXPECT_FALSE(may("outputs { phase: PHASE_REASONING reasoning_finished: true }"));
  EXPECT_FALSE(may("outputs { phase: PHASE_REASONING finished: true }"));
  EXPECT_FALSE(
      may("outputs { phase: PHASE_REASONING reasoning_cause: "
          "REASONING_FINISH_CAUSE_BUDGET }"));
}

TEST(CheckEscalationsTest, EachLeadsToAnotherVariantAndNoneBack) {
  const auto check = [](const std::vector<std::pair<std::string, std::string>>& variants) {
    std::vector<VariantConfig> list;
    for (const auto& [name, better] : variants) {
      list.push_back({.name = name, .escalate_to = better});
    }
    return std::string(CheckEscalations(list).message());
  };
  EXPECT_EQ(check({{"a", ""}, {"b", ""}}), "");
  EXPECT_EQ(check({{"a", "b"}, {"b", "c"}, {"c", ""}}), "");
  EXPECT_EQ(check({{"a", "c"}, {"b", "c"}, {"c", ""}}), "");
  EXPECT_EQ(check({{"a", "d"}}), "variant a: escalate_to 'd' is no variant's name");
  EXPECT_EQ(check({{"a", "a"}}), "variant a: escalate_to leads in a circle");
  EXPECT_EQ(check({{"a", "b"}, {"b", "c"}, {"c", "b"}}),
            "variant b: escalate_to leads in a circle");
}

}  // namespace
}  // namespace thinkwire::router

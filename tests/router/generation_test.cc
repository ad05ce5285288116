#include "router/generation.h"

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/rpc/proto_time.h"
#include "common/rpc/request_bytes.h"
#include "common/rpc/status_details.h"
#include "router/decision/score_policy.h"
#include "tests/fakes/fake_worker.h"
#include "tests/router/event_sink.h"
#include "tests/router/fleet/pool_fixture.h"

namespace thinkwire::router {
namespace {

constexpr std::chrono::seconds kPatience{60};

// One variant with one fake worker, and no server in front.
class GenerationTest : public testing::Test {
 protected:
  GenerationTest() {
    worker_.SetScript({.events = SmallStream()});
    EXPECT_TRUE(pool_.TickUntilLive());
  }
  ~GenerationTest() override { EXPECT_TRUE(registry_.WaitUntilEmpty(kPatience)); }

  std::shared_ptr<Generation> Make(std::shared_ptr<EventSink> sink) {
    return Generation::Make({.variants = variants_,
                             .policy = policy_,
                             .pool = *pool_,
                             .metrics = metrics_,
                             .registry = registry_,
                             .clock = Clock::Real(),
                             .retries = retries_,
                             .moves = moves_,
                             .resume_wait = {}},
                            {}, std::move(sink));
  }

  static v1::GenerateRequest Question(const std::string& text = "1+1?") {
    v1::GenerateRequest request;
    request.mutable_prompt()->set_text(text);
    return request;
  }

  double ReasoningTokens() const {
    for (const auto& family : metrics_registry_.Collect()) {
      if (family.name != "thinkwire_router_tokens_total") continue;
      for (const auto& metric : family.metric) {
        for (const auto& label : metric.label) {
          if (label.value == "reasoning") return metric.counter.value;
        }
      }
    }
    return 0;
  }

  FakeWorker worker_{"qwen-7b"};
  const std::vector<VariantConfig> variants_ = {
      {.name = "qwen-7b", .workers = {worker_.address()}}};
  prometheus::Registry metrics_registry_;
  RouterMetrics metrics_{metrics_registry_, {"qwen-7b"}};
  const decision::ScorePolicy policy_{variants_};
  fleet::PoolUnderTest pool_{variants_, Clock::Real()};
  RetryBudget retries_;
  MoveSchedule moves_{Clock::Real()};
  GenerationRegistry registry_;
};

TEST_F(GenerationTest, PassesEventsToItsSinkAndEndsIt) {
  const auto sink = std::make_shared<TestSink>();
  const auto generation = Make(sink);
  generation->Start(Question());
  EXPECT_TRUE(sink->WaitForEnd().ok());
  const auto events = sink->events();
  ASSERT_EQ(events.size(), SmallStream().size());
  EXPECT_EQ(events[1].started().request_id(), generation->request_id());
  EXPECT_EQ(events[1].started().worker(), worker_.address());
  EXPECT_EQ(events[1].started().worker_reason(), "the only live one: 0 queued, 0 running");
}

TEST_F(GenerationTest, TellsHowLongSuchRequestsThink) {
  auto script = SmallStream();
  script[1].mutable_started()->mutable_expected_thinking()->set_p50_tokens(1);  // not its to say
  worker_.SetScript({.events = script});
  const auto ask = [&](const v1::GenerateRequest& request) {
    const auto sink = std::make_shared<TestSink>();
    Make(sink)->Start(request);
    EXPECT_TRUE(sink->WaitForEnd().ok());
    return sink->events()[1].started();
  };
  const v1::Started thinks = ask(Question());
  EXPECT_EQ(thinks.expected_thinking().p50_tokens(), 750);
  EXPECT_EQ(thinks.expected_thinking().p90_tokens(), 1875);
  EXPECT_EQ(thinks.variant_reason(), "the only variant here");
  // Three tokens were thought: the next are expected to think less.
  EXPECT_LT(ask(Question()).expected_thinking().p50_tokens(), 750);
  v1::GenerateRequest at_once = Question();
  at_once.mutable_thinking()->set_mode(v1::THINKING_MODE_OFF);
  EXPECT_FALSE(ask(at_once).has_expected_thinking());
}

TEST_F(GenerationTest, TellsTheWaitOnceThePaceWasMeasured) {
  auto script = SmallStream();
  script[0].mutable_queued()->mutable_estimated_wait()->set_seconds(1'000'000);
  worker_.SetScript({.events = script});
  const auto queued = [&] {
    const auto sink = std::make_shared<TestSink>();
    Make(sink)->Start(Question());
    EXPECT_TRUE(sink->WaitForEnd().ok());
    return sink->events()[0].queued();
  };
  EXPECT_FALSE(queued().has_estimated_wait());
  const v1::Queued told = queued();
  const auto wait = rpc::ReadDuration(told.estimated_wait());
  EXPECT_GT(wait.count(), 0);
  EXPECT_LT(wait, std::chrono::hours(100));
}

TEST_F(GenerationTest, WhoIsCutShortShowsThePaceToo) {
  auto script = SmallStream();
  script.resize(5);
  worker_.SetScript({.events = script, .stays_open = true});
  const auto cut = std::make_shared<TestSink>();
  const auto generation = Make(cut);
  generation->Start(Question());
  ASSERT_TRUE(cut->WaitForEvents(5));
  generation->Cancel();
  EXPECT_TRUE(absl::IsCancelled(cut->WaitForEnd())) << cut->WaitForEnd();
  worker_.SetScript({.events = SmallStream()});
  const auto sink = std::make_shared<TestSink>();
  Make(sink)->Start(Question());
  EXPECT_TRUE(sink->WaitForEnd().ok());
  EXPECT_TRUE(sink->events()[0].queued().has_estimated_wait());
}

TEST_F(GenerationTest, CountsWhyAVariantWasChosen) {
  const auto sink = std::make_shared<TestSink>();
  Make(sink)->Start(Question());
  EXPECT_TRUE(sink->WaitForEnd().ok());
  int found = 0;
  for (const auto& family : metrics_registry_.Collect()) {
    if (family.name != "thinkwire_router_decisions_total") continue;
    ASSERT_EQ(family.metric.size(), 1U);
    for (const auto& label : family.metric[0].label) {
      EXPECT_EQ(label.value, label.name == "variant" ? "qwen-7b" : "only");
    }
    found += static_cast<int>(family.metric[0].counter.value);
  }
  EXPECT_EQ(found, 1);
}

TEST_F(GenerationTest, KnowsWhereAnotherWorkerWouldGoOn) {
  auto script = SmallStream();
  script.resize(5);
  worker_.SetScript({.events = script, .end = absl::UnavailableError("restarting")});
  const auto sink = std::make_shared<TestSink>();
  const auto generation = Make(sink);
  generation->Start(Question());
  EXPECT_EQ(rpc::ErrorReason(sink->WaitForEnd()), "WORKER_LOST");
  const v1::ResumeState state = generation->ledger().MakeResumeState();
  EXPECT_EQ(std::vector(state.prompt_ids().begin(), state.prompt_ids().end()),
            (std::vector{1, 2, 3}));
  EXPECT_EQ(state.fingerprint(), "fake");
  ASSERT_EQ(state.outputs_size(), 1);
  const v1::OutputState& output = state.outputs(0);
  EXPECT_EQ(std::vector(output.token_ids().begin(), output.token_ids().end()),
            (std::vector{10, 11, 12, 20}));
  EXPECT_EQ(output.phase(), v1::PHASE_ANSWER);
  EXPECT_EQ(output.reasoning_tokens(), 3);
}

TEST_F(GenerationTest, DropsThePromptOnceItHasItsIds) {
  const std::string text(1 << 20, 'x');
  const auto sink = std::make_shared<TestSink>();
  const auto generation = Make(sink);
  generation->Start(Question(text));
  EXPECT_TRUE(sink->WaitForEnd().ok());
  EXPECT_LT(generation->bytes(), 10'000U);
  EXPECT_EQ(worker_.last_call().request.request().prompt().text(), text);

  worker_.SetScript({.end = absl::UnavailableError("restarting")});
  const auto other_sink = std::make_shared<TestSink>();
  const auto without_ids = Make(other_sink);
  without_ids->Start(Question(text));
  EXPECT_FALSE(other_sink->WaitForEnd().ok());
  EXPECT_GE(without_ids->bytes(), text.size());  // another worker would need it
}

TEST_F(GenerationTest, HoldsWhatItKeepsAloneOnceItHasTheIds) {
  constexpr std::size_t kAll = 2 * rpc::RequestBytes::kLargeBytes;
  constexpr std::size_t kKept = 10'000;
  rpc::RequestBytes bytes(kAll, kAll, kKept);
  worker_.SetScript({.events = SmallStream(), .stays_open = true});
  const auto sink = std::make_shared<TestSink>();
  const auto generation = Make(sink);
  generation->Hold(*bytes.Admit("", kAll));
  EXPECT_FALSE(bytes.Admit("", kAll).ok());
  generation->Start(Question());
  EXPECT_TRUE(sink->WaitForEvents(1));
  EXPECT_TRUE(bytes.Admit("", kAll).ok()) << "what it keeps takes no room from newcomers";
  generation->Cancel();
  EXPECT_TRUE(absl::IsCancelled(sink->WaitForEnd()));
}

TEST_F(GenerationTest, AFullSinkLosesNothing) {
  const auto sink = std::make_shared<TestSink>(2);
  const auto generation = Make(sink);
  generation->Start(Question());
  EXPECT_TRUE(sink->WaitForRefusals(1));
  generation->Resume();  // too early
  EXPECT_TRUE(sink->WaitForRefusals(2));
  EXPECT_EQ(sink->events().size(), 2U);
  sink->MakeRoom(1000);
  generation->Resume();
  EXPECT_TRUE(sink->WaitForEnd().ok());
  const auto events = sink->events();
  ASSERT_EQ(events.size(), SmallStream().size());
  EXPECT_EQ(events[2].reasoning_delta().text(), "So 2.");
}

// Six tokens that think one by one, and the rest as SmallStream has it.
std::vector<v1::GenerateResponse> StreamOfManyDeltas() {
  std::vector<v1::GenerateResponse> events = SmallStream();
  events[3].mutable_reasoning_finished()->set_reasoning_tokens(7);
  events[5].mutable_finished()->mutable_tokens()->set_reasoning_tokens(7);
  events[6].mutable_completed()->mutable_usage()->set_reasoning_tokens(7);
  v1::GenerateResponse delta;
  delta.mutable_reasoning_delta()->set_text("t");
  delta.mutable_reasoning_delta()->add_token_ids(0);
  std::vector<v1::GenerateResponse> deltas(6, delta);
  for (int i = 0; i < 6; ++i) deltas[i].mutable_reasoning_delta()->set_token_ids(0, 10 + i);
  events.erase(events.begin() + 2);
  events.insert(events.begin() + 2, deltas.begin(), deltas.end());
  return events;
}

TEST_F(GenerationTest, AReaderWhoLagsGetsWhatWaitsAsOne) {
  worker_.SetScript({.events = StreamOfManyDeltas()});
  const auto sink = std::make_shared<TestSink>(2);
  const auto generation = Make(sink);
  generation->Start(Question());
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  while (ReasoningTokens() < 7 && std::chrono::steady_clock::now() < give_up) {
    std::this_thread::yield();  // the worker is read on, though nobody takes what it says
  }
  EXPECT_EQ(sink->events().size(), 2U);
  sink->MakeRoom(1000);
  generation->Resume();
  EXPECT_TRUE(sink->WaitForEnd().ok());
  const auto events = sink->events();
  ASSERT_EQ(events.size(), SmallStream().size());
  const v1::ReasoningDelta& delta = events[2].reasoning_delta();
  EXPECT_EQ(delta.text(), "tttttt");
  EXPECT_EQ(std::vector(delta.token_ids().begin(), delta.token_ids().end()),
            (std::vector{10, 11, 12, 13, 14, 15}));
  EXPECT_EQ(generation->ledger().outputs().at(0).reasoning_tokens, 7);
}

TEST_F(GenerationTest, ACancelEndsTheWorkersCall) {
  auto script = SmallStream();
  script.resize(3);
  worker_.SetScript({.events = script, .stays_open = true});
  const auto sink = std::make_shared<TestSink>();
  const auto generation = Make(sink);
  generation->Start(Question());
  EXPECT_TRUE(sink->WaitForEvents(3));
  generation->Cancel();
  generation->Cancel();
  EXPECT_TRUE(absl::IsCancelled(sink->WaitForEnd()));
  EXPECT_TRUE(worker_.WaitForCancels(1));
}

TEST_F(GenerationTest, AnErrorOfTheDecisionIsItsEnd) {
  v1::GenerateRequest request = Question();
  request.set_variant("qwen-32b");
  const auto sink = std::make_shared<TestSink>();
  Make(sink)->Start(request);
  EXPECT_TRUE(sink->ended());
  EXPECT_EQ(rpc::ErrorReason(sink->WaitForEnd()), "VARIANT_NOT_FOUND");
}

TEST_F(GenerationTest, ARefusalIsItsEnd) {
  const auto sink = std::make_shared<TestSink>();
  Make(sink)->Refuse(absl::UnavailableError("draining"));
  EXPECT_EQ(sink->WaitForEnd(), absl::UnavailableError("draining"));
}

TEST_F(GenerationTest, IsFoundByItsIdWhileItLives) {
  auto generation = Make(std::make_shared<TestSink>());
  const std::string id = generation->request_id();
  EXPECT_EQ(registry_.Find(id), generation);
  EXPECT_EQ(registry_.Find("another"), nullptr);
  EXPECT_FALSE(registry_.WaitUntilEmpty(std::chrono::milliseconds(1)));
  generation->Refuse(absl::UnavailableError("draining"));
  generation.reset();
  EXPECT_EQ(registry_.Find(id), nullptr);
  EXPECT_TRUE(registry_.WaitUntilEmpty(std::chrono::seconds(0)));
}

TEST_F(GenerationTest, LivesUntilItsWorkersCallHasEnded) {
  worker_.SetScript({.stays_open = true});
  auto generation = Make(std::make_shared<TestSink>());
  generation->Start(Question());
  const std::string id = generation->request_id();
  ASSERT_TRUE(worker_.WaitForCalls(1));
  generation.reset();
  ASSERT_NE(registry_.Find(id), nullptr);
  registry_.Find(id)->Cancel();
  EXPECT_TRUE(registry_.WaitUntilEmpty(kPatience));
  EXPECT_EQ(registry_.Find(id), nullptr);
}

}  // namespace
}  // namespace thinkwire::router

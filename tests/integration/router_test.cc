// The whole path as processes: thinkwire-chat, thinkwire-router, thinkwire-worker.

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/rpc/channel.h"
#include "common/rpc/status_details.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "tests/fakes/fake_worker.h"
#include "tests/integration/process.h"
#include "tests/integration/programs.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"
#include "thinkwire/v1/reasoning.grpc.pb.h"

namespace thinkwire::integration {
namespace {

std::unique_ptr<Process> Chat(const RouterProcess& router, std::vector<std::string> arguments,
                              const std::string& input = "") {
  arguments.insert(arguments.begin(), {kChat, "--router", router.address()});
  return std::make_unique<Process>(arguments, input);
}

WorkerProcess TinyWorker(const std::vector<std::string>& options = {}) {
  std::vector<std::string> all = {absl::StrCat("--model=", kTinyModel)};
  all.insert(all.end(), options.begin(), options.end());
  return WorkerProcess(all);
}

std::string AddressOf(const WorkerProcess& worker) {
  return absl::StrCat("127.0.0.1:", worker.port());
}

TEST(WholePathTest, JsonEventsComeInOrderAndUsageIsTheRecountOfTheIds) {
  WorkerProcess worker = TinyWorker();
  ASSERT_TRUE(worker.listening());
  RouterProcess router("tiny-r1", AddressOf(worker));
  const auto chat = Chat(router, {"--json", "--temperature=0"}, "What is 27+48?");
  ASSERT_EQ(chat->Wait(), 0) << chat->error();

  std::vector<std::string> order;
  std::string answer;
  std::size_t reasoning_ids = 0;
  std::size_t answer_ids = 0;
  nlohmann::json completed;
  std::istringstream lines(chat->output());
  for (std::string line; std::getline(lines, line);) {
    const auto event = nlohmann::json::parse(line);
    const std::string name = event["event"];
    if (name == "queued") continue;
    if (order.empty() || order.back() != name) order.push_back(name);
    if (name == "answer") answer += event["text"];
    if (name.starts_with("reasoning")) reasoning_ids += event["token_ids"].size();
    if (name == "answer" || name == "finished") answer_ids += event["token_ids"].size();
    if (name == "completed") completed = event;
  }
  EXPECT_EQ(order, (std::vector<std::string>{"started", "reasoning", "reasoning_finished", "answer",
                                             "finished", "completed"}));
  EXPECT_EQ(completed["usage"]["reasoning_tokens"], reasoning_ids);
  EXPECT_EQ(completed["usage"]["answer_tokens"], answer_ids);
  EXPECT_NE(answer.find("75"), std::string::npos) << answer;
}

TEST(WholePathTest, APipeGetsTheAnswerAlone) {
  WorkerProcess worker = TinyWorker();
  ASSERT_TRUE(worker.listening());
  RouterProcess router("tiny-r1", AddressOf(worker));
  const auto chat = Chat(router, {"--temperature=0", "What is 27+48?"});
  ASSERT_EQ(chat->Wait(), 0) << chat->error();
  EXPECT_NE(chat->output().find("75"), std::string::npos);
  EXPECT_EQ(chat->output().find('\x1b'), std::string::npos);
  EXPECT_EQ(chat->output().find("ones"), std::string::npos) << "reasoning on stdout";
  EXPECT_NE(chat->error().find("[tiny-r1 (the only variant here)"), std::string::npos);
  EXPECT_NE(chat->error().find("tokens of reasoning"), std::string::npos);
}

TEST(WholePathTest, ManyAtOnceHalfCancelledGiveTheTextsOfEachAlone) {
  // Too few blocks for 16 places: sequences are preempted.
  WorkerProcess worker = TinyWorker({"--kv_cache_memory_bytes=4000000", "--max_num_seqs=16"});
  ASSERT_TRUE(worker.listening());
  RouterProcess router("tiny-r1", AddressOf(worker));
  const auto stub = v1::ReasoningService::NewStub(rpc::MakeChannel(router.address()));
  const auto generate = [&](int i, int cancel_after) {
    grpc::ClientContext context;
    const auto reader =
        stub->Generate(&context, Ask(absl::StrCat("What is ", 20 + i, "+", 70 - i, "?"), 100 + i));
    std::string text;
    v1::GenerateResponse event;
    for (int reads = 0; reader->Read(&event); ++reads) {
      text += event.reasoning_delta().text() + event.answer_delta().text();
      if (reads == cancel_after) context.TryCancel();
    }
    return reader->Finish().ok() ? text : std::string();
  };
  constexpr int kRequests = 64;
  std::vector<std::string> texts(kRequests);
  std::vector<std::thread> clients;
  for (int i = 0; i < kRequests; ++i) {
    clients.emplace_back(
        [&, i] { texts[static_cast<std::size_t>(i)] = generate(i, i % 2 == 0 ? i % 7 : -1); });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_TRUE(worker.WaitUntilIdle());
  EXPECT_GT(worker.Metric("thinkwire_worker_preemptions_total").value_or(0), 0);
  for (int i = 1; i < kRequests; i += 2) {
    EXPECT_FALSE(texts[static_cast<std::size_t>(i)].empty()) << i;
    EXPECT_EQ(texts[static_cast<std::size_t>(i)], generate(i, -1)) << i;
  }
  EXPECT_TRUE(router.WaitUntilIdle());
}

// One stream's tokens, of both phases.
struct Tokens {
  std::vector<std::int32_t> ids;
  std::vector<v1::TokenLogprob> logprobs;
  v1::Finished finished;
};

Tokens ReadTokens(v1::ReasoningService::Stub& stub, const v1::GenerateRequest& request) {
  grpc::ClientContext context;
  const auto reader = stub.Generate(&context, request);
  Tokens tokens;
  const auto take = [&](const auto& event) {
    tokens.ids.insert(tokens.ids.end(), event.token_ids().begin(), event.token_ids().end());
    tokens.logprobs.insert(tokens.logprobs.end(), event.logprobs().begin(), event.logprobs().end());
  };
  v1::GenerateResponse event;
  while (reader->Read(&event)) {
    take(event.reasoning_delta());
    take(event.reasoning_finished());
    take(event.answer_delta());
    take(event.finished());
    if (event.has_finished()) tokens.finished = event.finished();
  }
  const grpc::Status status = reader->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(tokens.logprobs.size(), tokens.ids.size());
  return tokens;
}

class SamplingTest : public testing::Test {
 protected:
  SamplingTest()
      : router_("tiny-r1", AddressOf(worker_)),
        stub_(v1::ReasoningService::NewStub(rpc::MakeChannel(router_.address()))) {
    request_ = AskGreedily("What is 27+48?");
    request_.set_max_tokens(80);
    request_.set_min_answer_tokens(0);  // nothing is forced
    for (v1::PhaseSampling* phase : phases()) {
      phase->set_logprobs(true);
      phase->set_top_logprobs(5);
    }
    greedy_ = ReadTokens(*stub_, request_);
  }

  std::vector<v1::PhaseSampling*> phases() {
    return {request_.mutable_reasoning_sampling(), request_.mutable_answer_sampling()};
  }

  WorkerProcess worker_ = TinyWorker();
  RouterProcess router_;
  std::unique_ptr<v1::ReasoningService::Stub> stub_;
  v1::GenerateRequest request_;
  Tokens greedy_;
};

TEST_F(SamplingTest, AlternativesAreSortedAndHoldTheGreedyChoice) {
  ASSERT_GT(greedy_.ids.size(), 5U);
  for (std::size_t i = 0; i < greedy_.ids.size(); ++i) {
    const auto& alternatives = greedy_.logprobs[i].alternatives();
    ASSERT_EQ(alternatives.size(), 5);
    EXPECT_EQ(alternatives[0].token_id(), greedy_.ids[i]);
    EXPECT_EQ(alternatives[0].logprob(), greedy_.logprobs[i].logprob());
    double sum = 0;
    for (int k = 0; k < alternatives.size(); ++k) {
      EXPECT_LE(alternatives[k].logprob(), alternatives[std::max(0, k - 1)].logprob());
      sum += std::exp(alternatives[k].logprob());
    }
    EXPECT_LE(sum, 1.0001);
  }
}

TEST_F(SamplingTest, BiasBansAnIdAndLogprobsStayTheModels) {
  const std::int32_t banned = greedy_.ids.at(0);
  for (v1::PhaseSampling* phase : phases()) (*phase->mutable_logit_bias())[banned] = -100;
  const Tokens tokens = ReadTokens(*stub_, request_);
  EXPECT_EQ(std::ranges::count(tokens.ids, banned), 0);
  EXPECT_EQ(tokens.ids.at(0), greedy_.logprobs.at(0).alternatives(1).token_id());
  EXPECT_EQ(tokens.logprobs.at(0).logprob(), greedy_.logprobs.at(0).alternatives(1).logprob());
  EXPECT_EQ(tokens.logprobs.at(0).alternatives(0).token_id(), banned);
}

TEST_F(SamplingTest, StopIdEndsTheOutputAndIsNamed) {
  const std::int32_t stop = greedy_.ids.at(4);
  for (v1::PhaseSampling* phase : phases()) phase->add_stop_token_ids(stop);
  const Tokens tokens = ReadTokens(*stub_, request_);
  const auto end = std::ranges::find(greedy_.ids, stop) + 1;
  EXPECT_EQ(tokens.ids, std::vector<std::int32_t>(greedy_.ids.begin(), end));
  EXPECT_EQ(tokens.finished.reason(), v1::FINISH_REASON_STOP_TOKEN);
  EXPECT_EQ(tokens.finished.stop_token_id(), stop);
}

TEST_F(SamplingTest, PenaltiesChangeTheTextAndGiveItAgain) {
  for (v1::PhaseSampling* phase : phases()) {
    phase->set_repetition_penalty(2);
    phase->set_frequency_penalty(2);
    phase->set_presence_penalty(2);
  }
  const Tokens tokens = ReadTokens(*stub_, request_);
  EXPECT_NE(tokens.ids, greedy_.ids);
  EXPECT_EQ(ReadTokens(*stub_, request_).ids, tokens.ids);
}

TEST(WholePathTest, CtrlCCancelsTheWorker) {
  FakeWorker worker("slow");
  auto events = SmallStream();
  events.resize(3);
  worker.SetScript({.events = events, .stays_open = true});
  RouterProcess router("slow", worker.address());
  const auto chat = Chat(router, {"Think for ever."});
  ASSERT_TRUE(chat->WaitForErrorLine("[slow ")) << chat->error();
  chat->Signal(SIGINT);
  EXPECT_EQ(chat->Wait(), 130);
  EXPECT_TRUE(worker.WaitForCancels(1));
}

TEST(WholePathTest, StdinGoesBeforeTheQuestionOfTheCommandLine) {
  FakeWorker worker("tiny");
  worker.SetScript({.events = SmallStream()});
  RouterProcess router("tiny", worker.address());
  EXPECT_EQ(Chat(router, {"sum", "it", "up"}, "a file\n\n")->Wait(), 0);
  const auto asked = [&] {
    return worker.last_call().request.request().prompt().chat().messages(0).content();
  };
  EXPECT_EQ(asked(), "a file\n\nsum it up");
  EXPECT_EQ(Chat(router, {"sum it up"})->Wait(), 0);
  EXPECT_EQ(asked(), "sum it up");
}

TEST(WholePathTest, ErrorsReadLikeSentences) {
  auto worker = std::make_unique<FakeWorker>("tiny");
  worker->SetScript({.end = rpc::Error(absl::StatusCode::kInternal, "NOT_FINITE", "a bug")});
  RouterProcess router("tiny", worker->address());

  auto chat = Chat(router, {"--variant=huge", "hello"});
  EXPECT_EQ(chat->Wait(), 1);
  EXPECT_EQ(chat->error(), "thinkwire-chat: no variant \"huge\" here; there is tiny\n");
  chat = Chat(router, {"--temperature=9", "hello"});
  EXPECT_EQ(chat->Wait(), 2);
  EXPECT_EQ(chat->error(), "thinkwire-chat: --temperature: '9' is not a number from 0 to 2\n");
  chat = Chat(router, {"--stop", std::string(300, 'x'), "hello"});
  EXPECT_EQ(chat->Wait(), 1);
  EXPECT_EQ(chat->error(), "thinkwire-chat: --stop must be 1 to 256 bytes long, is 300\n");
  chat = Chat(router, {}, "\xff");
  EXPECT_EQ(chat->Wait(), 2);
  EXPECT_EQ(chat->error(), "thinkwire-chat: the question is not valid UTF-8\n");
  chat = Chat(router, {"hello"});
  EXPECT_EQ(chat->Wait(), 1);
  EXPECT_EQ(chat->error(), "thinkwire-chat: a bug\n");

  worker->Kill();
  ASSERT_TRUE(router.process().WaitForErrorLine("worker is not live"));
  chat = Chat(router, {"--json", "hello"});
  EXPECT_EQ(chat->Wait(), 1);
  EXPECT_EQ(nlohmann::json::parse(chat->output())["reason"], "NO_LIVE_WORKER");

  Process nobody({kChat, "--router=127.0.0.1:1", "hello"});
  EXPECT_EQ(nobody.Wait(), 3);
  EXPECT_EQ(nobody.error().find("thinkwire-chat: there is no connection to the router"), 0u);
}

// A proxy that nobody is, for the programs that are started meanwhile.
class DeadProxy {
 public:
  DeadProxy() { setenv("http_proxy", "http://me:secret@127.0.0.1:1", 1); }
  ~DeadProxy() { unsetenv("http_proxy"); }
  DeadProxy(const DeadProxy&) = delete;
  DeadProxy& operator=(const DeadProxy&) = delete;
};

TEST(WholePathTest, AProxyOfTheEnvironmentIsForOtherMachinesAlone) {
  FakeWorker worker("tiny");
  worker.SetScript({.events = SmallStream()});
  const DeadProxy proxy;
  RouterProcess router("tiny", worker.address());
  const auto chat = Chat(router, {"hello"});
  EXPECT_EQ(chat->Wait(), 0) << chat->error();
  Process away({kChat, "--router=192.0.2.1:50051", "hello"});
  EXPECT_EQ(away.Wait(), 3);
  EXPECT_TRUE(absl::StartsWith(away.error(),
                               "thinkwire-chat: there is no connection to the router at "
                               "192.0.2.1:50051 through the proxy http://127.0.0.1:1 (http_proxy)"))
      << away.error();
}

TEST(WholePathTest, HealthFollowsTheWorkers) {
  FakeWorker worker("tiny");
  RouterProcess router("tiny", worker.address());
  const auto stub = grpc::health::v1::Health::NewStub(rpc::MakeChannel(router.address()));
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckRequest request;
  request.set_service("thinkwire.v1.ReasoningService");
  const auto watch = stub->Watch(&context, request);
  grpc::health::v1::HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), grpc::health::v1::HealthCheckResponse::SERVING);
  worker.Kill();
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), grpc::health::v1::HealthCheckResponse::NOT_SERVING);
}

TEST(WholePathTest, SigtermLetsRunningRequestsFinish) {
  WorkerProcess worker = TinyWorker();
  ASSERT_TRUE(worker.listening());
  // Enough for 2000 tokens at a sanitizer's speed.
  RouterProcess router("tiny-r1", AddressOf(worker), {"--drain_timeout_s=120"});
  v1::GenerateRequest request = Ask("What is 27+48?", 1);
  request.set_ignore_eos(true);
  request.set_max_tokens(2000);
  const auto stub = v1::ReasoningService::NewStub(rpc::MakeChannel(router.address()));
  grpc::ClientContext context;
  const auto reader = stub->Generate(&context, request);
  v1::GenerateResponse event;
  ASSERT_TRUE(reader->Read(&event));
  router.process().Signal(SIGTERM);
  bool completed = false;
  while (reader->Read(&event)) completed |= event.has_completed();
  EXPECT_TRUE(completed);
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(router.process().Wait(), 0);
}

TEST(RouterOptionsTest, WhatIsWrongEndsInOneLineBeforeAnythingListens) {
  const std::string path = testing::TempDir() + "wrong-" + std::to_string(getpid()) + ".yaml";
  std::ofstream(path) << "variants:\n  - name: a\n    wrokers: [\"h:1\"]\n";
  const std::vector<std::vector<std::string>> cases = {
      {},
      {"--config=/nowhere.yaml"},
      {"--config", path},
      {"--config", path, "--check-config"},
      {"--config", path, "--frobnicate"},
      {"--config=/dev/zero"},
      {"--config", testing::TempDir()},
      {"--config", path, "--listen=127.0.0.1"},
      {"--config", path, "--metrics_listen=127.0.0.1:65536", "--check_config"},
  };
  for (const auto& options : cases) {
    std::vector<std::string> arguments = {kRouter};
    arguments.insert(arguments.end(), options.begin(), options.end());
    Process router(arguments);
    EXPECT_EQ(router.Wait(), 78);
    const std::string error = router.error();
    EXPECT_EQ(std::ranges::count(error, '\n'), 1) << error;
    EXPECT_EQ(error.find("thinkwire-router: "), 0u) << error;
  }
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace thinkwire::integration

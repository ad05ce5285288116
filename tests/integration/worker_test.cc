// The worker as a process, asked over gRPC: what the bundled model answers must not depend on load,
// chunks, ranks or preemption.

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "tests/integration/worker_process.h"

namespace thinkwire::integration {
namespace {

std::string Model() { return absl::StrCat("--model=", kTinyModel); }

v1::GenerateRequest WithLogprobs(v1::GenerateRequest request) {
  request.mutable_reasoning_sampling()->set_logprobs(true);
  request.mutable_answer_sampling()->set_logprobs(true);
  return request;
}

TEST(WorkerProcessTest, AnswersInOrderAndUsageIsTheRecountOfTheIds) {
  WorkerProcess worker({Model()});
  ASSERT_TRUE(worker.listening());
  const Generation all = worker.Generate(AskGreedily("What is 27+48?"));
  ASSERT_TRUE(all.status.ok()) << all.status;
  EXPECT_EQ(all.order, "SrRaFC");
  EXPECT_NE(all.answer.find("75"), std::string::npos) << all.answer;
  EXPECT_FALSE(all.reasoning.empty());
  EXPECT_EQ(all.finished.reason(), v1::FINISH_REASON_END);
  const v1::Usage& usage = all.completed.usage();
  EXPECT_EQ(usage.prompt_tokens(), static_cast<int>(all.prompt_ids.size()));
  EXPECT_EQ(usage.reasoning_tokens() + usage.answer_tokens(), static_cast<int>(all.ids.size()));
  EXPECT_EQ(usage.discarded_tokens(), 0);
  EXPECT_EQ(all.started.limits().max_tokens() + usage.prompt_tokens(),
            all.started.limits().max_model_len());
}

TEST(WorkerProcessTest, PromptInChunksOfAnySizeGivesTheSameBits) {
  std::string long_question = "What is 1234+4321?";
  for (int i = 0; i < 20; ++i) long_question += " What is 12+34?";
  std::vector<Generation> all;
  for (const char* chunk : {"2048", "1", "7", "64"}) {
    WorkerProcess worker(
        {Model(), "--max_num_seqs=1", absl::StrCat("--max_num_batched_tokens=", chunk)});
    ASSERT_TRUE(worker.listening());
    v1::GenerateRequest request = WithLogprobs(Ask(long_question, 7));
    request.set_max_tokens(60);
    request.set_ignore_eos(true);
    all.push_back(worker.Generate(request));
    ASSERT_TRUE(all.back().status.ok()) << all.back().status;
    EXPECT_GT(all.back().prompt_ids.size(), 128U);
    EXPECT_EQ(all.back().logprobs.size(), 60U);
    EXPECT_EQ(all.back().ids, all[0].ids) << "chunks of " << chunk;
    EXPECT_EQ(all.back().logprobs, all[0].logprobs) << "chunks of " << chunk;
  }
}

TEST(WorkerProcessTest, TwoRanksGiveTheTokensOfOne) {
  WorkerProcess one({Model()});
  WorkerProcess two({Model(), "--tensor_parallel_size=2"});
  ASSERT_TRUE(one.listening() && two.listening());
  for (const char* question : {"What is 27+48?", "What is 812-345?", "Count from 3 to 9."}) {
    const Generation a = one.Generate(AskGreedily(question));
    const Generation b = two.Generate(AskGreedily(question));
    ASSERT_TRUE(a.status.ok() && b.status.ok()) << a.status << b.status;
    EXPECT_EQ(a.ids, b.ids) << question;
  }
  EXPECT_NE(one.Generate(AskGreedily("1+1?")).started.fingerprint(),
            two.Generate(AskGreedily("1+1?")).started.fingerprint());
}

TEST(WorkerProcessTest, CachedPrefixesChangeTimeAlone) {
  WorkerProcess caching({Model()});
  WorkerProcess plain({Model(), "--enable_prefix_caching=false"});
  ASSERT_TRUE(caching.listening() && plain.listening());
  std::string question = "What is 1234+4321?";
  for (int i = 0; i < 4; ++i) question += " What is 12+34?";
  v1::GenerateRequest request = WithLogprobs(Ask(question, 7));
  request.set_max_tokens(60);
  request.set_ignore_eos(true);
  const Generation cold = plain.Generate(request);
  ASSERT_TRUE(cold.status.ok()) << cold.status;
  const int prompt_tokens = cold.completed.usage().prompt_tokens();
  const int all_but_last = (prompt_tokens - 1) / 16 * 16;
  const auto expect = [&](WorkerProcess& worker, int cached_tokens) {
    const Generation all = worker.Generate(request);
    ASSERT_TRUE(all.status.ok()) << all.status;
    EXPECT_EQ(all.started.cached_prompt_tokens(), cached_tokens);
    EXPECT_EQ(all.completed.usage().cached_prompt_tokens(), cached_tokens);
    EXPECT_EQ(all.ids, cold.ids);
    EXPECT_EQ(all.logprobs, cold.logprobs);
  };
  expect(plain, 0);
  expect(caching, 0);
  expect(caching, all_but_last);
  request.set_cache_salt("tenant");
  expect(caching, 0);
  expect(caching, all_but_last);
  // The next turn begins with the answer: its last token was drawn, not computed.
  request.set_variant("any");
  auto* ids = request.mutable_prompt()->mutable_token_ids()->mutable_ids();
  ids->Assign(cold.prompt_ids.begin(), cold.prompt_ids.end());
  ids->Add(cold.ids.begin(), cold.ids.end());
  const Generation next = caching.Generate(request);
  ASSERT_TRUE(next.status.ok()) << next.status;
  EXPECT_EQ(next.started.cached_prompt_tokens(), (prompt_tokens + 59) / 16 * 16);
  EXPECT_EQ(next.logprobs, plain.Generate(request).logprobs);

  ASSERT_TRUE(caching.WaitForCounter("thinkwire_worker_prefix_queries_total", 5));
  ASSERT_TRUE(caching.WaitUntilIdle());
  EXPECT_EQ(caching.Metric("thinkwire_worker_prefix_queries_total"), 5);
  EXPECT_EQ(caching.Metric("thinkwire_worker_prefix_hits_total"), 3);
  const int hit_tokens = 2 * all_but_last + next.started.cached_prompt_tokens();
  EXPECT_EQ(caching.Metric("thinkwire_worker_prefix_query_tokens_total"), 5 * prompt_tokens + 60);
  EXPECT_EQ(caching.Metric("thinkwire_worker_prefix_hit_tokens_total"), hit_tokens);
  EXPECT_EQ(caching.Metric("thinkwire_worker_tokens_total", "{kind=\"cached_prompt\"}"),
            hit_tokens);
  EXPECT_GT(caching.Metric("thinkwire_worker_kv_blocks", "{state=\"cached\"}"), 0);
  EXPECT_EQ(plain.Metric("thinkwire_worker_prefix_queries_total"), 0);
  EXPECT_EQ(plain.Metric("thinkwire_worker_kv_blocks", "{state=\"cached\"}"), 0);
}

// 64 at once with room for few: half are cancelled, all others must say what they say alone.
TEST(WorkerProcessTest, PressureAndCancellationChangeNoText) {
  constexpr int kRequests = 64;
  WorkerProcess worker({Model(), "--kv_cache_memory_bytes=4000000", "--max_num_seqs=16"});
  ASSERT_TRUE(worker.listening());
  const auto request = [](int i) {
    v1::GenerateRequest out = Ask(absl::StrCat("What is ", 100 + 37 * i, "+", 4000 - 53 * i, "?"),
                                  static_cast<std::uint64_t>(i));
    out.set_max_tokens(250);
    return out;
  };
  std::mt19937 random(64);
  std::vector<int> patience(kRequests);
  for (int i = 0; i < kRequests; ++i) {
    patience[static_cast<std::size_t>(i)] = i % 2 == 0 ? -1 : static_cast<int>(random() % 60);
  }
  std::vector<Generation> crowded(kRequests);
  std::vector<std::thread> clients;
  for (int i = 0; i < kRequests; ++i) {
    clients.emplace_back([&, i] {
      const auto at = static_cast<std::size_t>(i);
      int left = patience[at];
      crowded[at] = worker.Generate(request(i), std::nullopt,
                                    [&](const v1::WorkerGenerateResponse&) { return left-- != 0; });
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_TRUE(worker.WaitUntilIdle());
  EXPECT_GT(worker.Metric("thinkwire_worker_preemptions_total").value_or(0), 0);

  int completed = 0;
  for (int i = 0; i < kRequests; ++i) {
    const Generation& there = crowded[static_cast<std::size_t>(i)];
    if (!there.status.ok()) {
      EXPECT_EQ(there.status.code(), absl::StatusCode::kCancelled) << there.status;
      EXPECT_EQ(i % 2, 1) << "nobody cancelled " << i;
      continue;
    }
    ++completed;
    const Generation alone = worker.Generate(request(i));
    ASSERT_TRUE(alone.status.ok()) << alone.status;
    EXPECT_EQ(there.ids, alone.ids) << i;
    EXPECT_EQ(there.reasoning, alone.reasoning);
    EXPECT_EQ(there.answer, alone.answer);
  }
  EXPECT_GE(completed, kRequests / 2);
  EXPECT_TRUE(worker.WaitUntilIdle());
}

TEST(WorkerProcessTest, DeadlineEndsARequest) {
  WorkerProcess worker({Model()});
  ASSERT_TRUE(worker.listening());
  v1::GenerateRequest request = Ask("What is 1+1?", 1);
  request.set_ignore_eos(true);
  const Generation all = worker.Generate(request, std::chrono::milliseconds(300));
  EXPECT_EQ(all.status.code(), absl::StatusCode::kDeadlineExceeded) << all.status;
  EXPECT_TRUE(worker.WaitUntilIdle());
  double ended = 0;  // in whichever phase it was
  for (const std::string phase : {"none", "reasoning", "answer"}) {
    ended += worker
                 .Metric("thinkwire_worker_requests_total",
                         absl::StrCat("{outcome=\"deadline\",phase=\"", phase, "\"}"))
                 .value_or(0);
  }
  EXPECT_EQ(ended, 1);
}

TEST(WorkerProcessTest, HealthIsTrueAndSigtermDrains) {
  WorkerProcess worker({Model()});
  ASSERT_TRUE(worker.listening());
  const auto channel = grpc::CreateChannel(absl::StrCat("127.0.0.1:", worker.port()),
                                           grpc::InsecureChannelCredentials());
  const auto health = grpc::health::v1::Health::NewStub(channel);
  grpc::health::v1::HealthCheckRequest ask;
  ask.set_service("thinkwire.v1.WorkerService");
  grpc::ClientContext watch_context;
  const auto watch = health->Watch(&watch_context, ask);
  grpc::health::v1::HealthCheckResponse answer;
  ASSERT_TRUE(watch->Read(&answer));
  EXPECT_EQ(answer.status(), grpc::health::v1::HealthCheckResponse::SERVING);

  v1::GenerateRequest request = Ask("What is 1+1?", 1);
  request.set_ignore_eos(true);
  request.set_max_tokens(400);
  bool first = true;
  const Generation all =
      worker.Generate(request, std::nullopt, [&](const v1::WorkerGenerateResponse&) {
        if (first) worker.process().Signal(SIGTERM);
        first = false;
        return true;
      });
  EXPECT_TRUE(all.status.ok()) << all.status;
  EXPECT_EQ(all.ids.size(), 400U);
  ASSERT_TRUE(watch->Read(&answer));
  EXPECT_EQ(answer.status(), grpc::health::v1::HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(worker.process().Wait(), 0) << worker.process().error();
}

TEST(WorkerProcessTest, CountTokensAgreesWithGenerate) {
  WorkerProcess worker({Model()});
  ASSERT_TRUE(worker.listening());
  v1::GenerateRequest generate = Ask("What is 27+48? </think><｜User｜>", 1);
  generate.set_max_tokens(1);
  v1::WorkerCountTokensRequest request;
  *request.mutable_request()->mutable_prompt() = generate.prompt();
  request.mutable_request()->set_return_token_ids(true);
  v1::WorkerCountTokensResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(worker.stub().CountTokens(&context, request, &response).ok());
  const Generation all = worker.Generate(generate);
  ASSERT_TRUE(all.status.ok()) << all.status;
  EXPECT_EQ(std::vector<std::int32_t>(response.token_ids().begin(), response.token_ids().end()),
            all.prompt_ids);
  EXPECT_EQ(response.prompt_tokens(), all.completed.usage().prompt_tokens());
}

}  // namespace
}  // namespace thinkwire::integration

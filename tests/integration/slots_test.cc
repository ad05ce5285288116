// Who holds a worker's slots leaves room for others, whether his streams are read or not, through
// real processes and sockets.

#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/status_details.h"
#include "tests/fakes/raw_http2.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"
#include "tests/sanitized.h"

namespace thinkwire::integration {
namespace {

constexpr char kGenerate[] = "/thinkwire.v1.ReasoningService/Generate";
constexpr std::int32_t kLong = 4000;  // tokens, nearly all that fit the model

v1::GenerateRequest AskAtLength(std::int32_t max_tokens) {
  v1::GenerateRequest request = AskGreedily("What is 27+48?");
  request.set_ignore_eos(true);
  request.set_max_tokens(max_tokens);
  return request;
}

std::vector<std::int32_t> IdsOf(const std::vector<std::string>& messages) {
  std::vector<std::int32_t> ids;
  const auto take = [&ids](const auto& event) {
    ids.insert(ids.end(), event.token_ids().begin(), event.token_ids().end());
  };
  for (const std::string& message : messages) {
    v1::GenerateResponse event;
    EXPECT_TRUE(event.ParseFromString(message));
    take(event.reasoning_delta());
    take(event.reasoning_finished());
    take(event.answer_delta());
    take(event.finished());
  }
  return ids;
}

class SlotsTest : public testing::Test {
 protected:
  void Start(int max_num_seqs) {
    worker_.emplace(std::vector<std::string>{absl::StrCat("--model=", kTinyModel),
                                             absl::StrCat("--max_num_seqs=", max_num_seqs)});
    ASSERT_TRUE(worker_->listening());
    router_.emplace("tiny-r1", absl::StrCat("127.0.0.1:", worker_->port()));
  }

  // A short question of one who reads the answer.
  absl::Status AskShortly() {
    v1::GenerateRequest request = AskGreedily("What is 5+6?");
    request.set_max_tokens(8);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    const auto reader = router_->stub().Generate(&context, request);
    v1::GenerateResponse event;
    while (reader->Read(&event)) {
    }
    return rpc::FromGrpc(reader->Finish());
  }

  bool WaitForMetric(const std::string& name, double value) {
    const auto give_up = std::chrono::steady_clock::now() + kPatience;
    while (worker_->Metric(name) != value) {
      if (std::chrono::steady_clock::now() > give_up) return false;
      std::this_thread::yield();
    }
    return true;
  }

  std::optional<WorkerProcess> worker_;
  std::optional<RouterProcess> router_;
};

TEST_F(SlotsTest, WhoDoesNotReadGivesTheOnlySlotToWhoWaits) {
  if (kSanitized) GTEST_SKIP() << "sanitizers may not fill in a minute what lies on the way";
  Start(1);
  v1::GenerateRequest request = AskAtLength(kLong);
  // Ids and text alone might all lie on the way, as deltas that wait become few messages.
  request.mutable_sampling()->set_logprobs(true);
  request.mutable_sampling()->set_top_logprobs(5);
  RawHttp2 unread({.port = router_->port(), .source = "127.0.0.2", .window = 0});
  const std::uint32_t call = unread.Call(kGenerate, request.SerializeAsString());
  ASSERT_TRUE(WaitForMetric("thinkwire_worker_paused_requests", 1));
  EXPECT_EQ(worker_->Metric("thinkwire_worker_running_requests"), 1);

  const auto asked = std::chrono::steady_clock::now();
  EXPECT_EQ(AskShortly(), absl::OkStatus());
  const auto took = std::chrono::steady_clock::now() - asked;
  RecordProperty("answer_ms", static_cast<int>(took / std::chrono::milliseconds(1)));
  EXPECT_LE(took, std::chrono::seconds(2));

  grpc::ClientContext watching;
  const auto watch = worker_->stub().WatchStatus(&watching, {});
  v1::WatchStatusResponse status;
  while (watch->Read(&status) && status.running() > 0) {
  }
  EXPECT_EQ(status.parked(), 1);
  EXPECT_EQ(status.queued(), 0);
  EXPECT_EQ(status.free_kv_blocks(), status.total_kv_blocks());
  watching.TryCancel();
  watch->Finish();

  // It reads, and gets what it would have got.
  unread.OpenWindow(call, 1 << 30);
  ASSERT_TRUE(unread.ReadUntilOver(call, kPatience));
  EXPECT_EQ(unread.stream(call).Status(), absl::OkStatus());
  const std::vector<std::int32_t> ids = IdsOf(unread.stream(call).Messages());
  EXPECT_EQ(ids.size(), static_cast<std::size_t>(kLong));
  EXPECT_EQ(ids, worker_->Generate(request).ids);
}

TEST_F(SlotsTest, WhoReadsManyStreamsGivesASlotToWhoAsksOnce) {
  Start(2);
  RawHttp2 flood({.port = router_->port(), .source = "127.0.0.2"});
  std::vector<std::uint32_t> calls;
  for (int i = 0; i < 8; ++i) {
    calls.push_back(flood.Call(kGenerate, AskAtLength(kLong).SerializeAsString()));
  }
  // Started, and a few deltas.
  const auto runs = [&](std::uint32_t call) { return flood.stream(call).Messages().size() > 20; };
  ASSERT_TRUE(flood.ReadUntil([&] { return std::ranges::count_if(calls, runs) == 2; }));

  auto answer = std::async(std::launch::async, [this] { return AskShortly(); });
  while (answer.wait_for(std::chrono::seconds(0)) == std::future_status::timeout) {
    flood.Read(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(answer.get(), absl::OkStatus());
  for (const std::uint32_t call : calls) EXPECT_FALSE(flood.stream(call).over());
  EXPECT_TRUE(worker_->WaitForCounter("thinkwire_worker_preemptions_total", 1));
}

}  // namespace
}  // namespace thinkwire::integration

// What one client can hold of a server with nothing but HTTP/2: calls that it does not read, that
// it opens and leaves, or resets by the thousand.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <deque>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/peer_limits.h"
#include "common/rpc/status_details.h"
#include "tests/fakes/raw_http2.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"
#include "tests/sanitized.h"

namespace thinkwire::integration {
namespace {

constexpr char kGenerate[] = "/thinkwire.v1.ReasoningService/Generate";
constexpr std::size_t kMiB = std::size_t{1} << 20;

class TransportTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(worker_.listening());
    router_ =
        std::make_unique<RouterProcess>("tiny-r1", absl::StrCat("127.0.0.1:", worker_.port()));
    ASSERT_EQ(AskFrom("127.0.0.9"), absl::OkStatus());  // both have all that they allocate once
  }

  RawHttp2::Options From(const std::string& source) const {
    return {.port = router_->port(), .source = source};
  }

  // A small question of somebody else.
  absl::Status AskFrom(const std::string& source) {
    RawHttp2 client(From(source));
    const std::uint32_t call =
        client.Call(kGenerate, AskGreedily("What is 27+48?").SerializeAsString());
    if (!client.ReadUntilOver(call)) return absl::UnavailableError("no end");
    return client.stream(call).Status();
  }

  // The same until it succeeds: while calls come in by the ten thousand, word of the worker may be
  // so late that the router takes it for silent, and a new connection's first frames so late that
  // it is closed.
  absl::Status AskPatientlyFrom(const std::string& source) {
    const auto give_up = std::chrono::steady_clock::now() + kPatience;
    absl::Status status = AskFrom(source);
    while (absl::IsUnavailable(status) && std::chrono::steady_clock::now() < give_up) {
      status = AskFrom(source);
    }
    return status;
  }

  // Whether the router comes to have no more than `bytes` again.
  bool WaitForMemory(std::size_t bytes) {
    const auto give_up = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < give_up) {
      if (router_->process().Memory() <= bytes) return true;
      std::this_thread::yield();
    }
    return false;
  }

  WorkerProcess worker_{{absl::StrCat("--model=", kTinyModel)}};
  std::unique_ptr<RouterProcess> router_;
};

TEST_F(TransportTest, ACallThatNobodyReadsIsEndedAndHoldsNoStop) {
  v1::GenerateRequest request = AskGreedily("What is 27+48?");
  request.set_max_tokens(3);
  RawHttp2::Options options = From("127.0.0.2");
  options.window = 0;
  RawHttp2 client(options);
  const std::uint32_t call = client.Call(kGenerate, request.SerializeAsString());
  ASSERT_TRUE(client.ReadUntilOver(call, 2 * kPatience));
  const absl::Status status = client.stream(call).Status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_TRUE(client.stream(call).data.empty());
  EXPECT_TRUE(router_->WaitUntilIdle());
  EXPECT_TRUE(worker_.WaitUntilIdle());

  client.Call(kGenerate, request.SerializeAsString());
  while (router_->Metric("thinkwire_router_running_requests") != 1.0) std::this_thread::yield();
  EXPECT_TRUE(worker_.WaitUntilIdle());
  const auto before = std::chrono::steady_clock::now();
  router_->process().Signal(SIGTERM);
  EXPECT_EQ(router_->process().Wait(), 0);
  const auto took = std::chrono::steady_clock::now() - before;
  EXPECT_LT(took, std::chrono::seconds(10));  // not its drain timeout
}

TEST_F(TransportTest, ResetsLeaveNoMemoryBehind) {
  // So slow, gRPC reads resets faster than it tells us of them: none closes the connection.
  if (kSanitized) GTEST_SKIP() << "sanitizers keep freed memory, and are slower than the flood";
  const std::size_t before = router_->process().Memory();
  const std::string question = AskGreedily("What is 27+48?").SerializeAsString();
  // Of ever new peers: who was closed waits.
  for (int resets = 0, peers = 1; resets < 20'000; ++peers) {
    RawHttp2 flood(From(absl::StrCat("127.0.1.", peers)));
    for (; !flood.closed() && resets < 20'000; ++resets) {
      flood.Reset(resets % 2 == 0 ? flood.OpenCall(kGenerate) : flood.Call(kGenerate, question));
    }
    EXPECT_EQ(AskPatientlyFrom("127.0.0.3"), absl::OkStatus());
    flood.ReadUntil([&] { return flood.closed(); });
  }
  EXPECT_GE(router_->Metric("thinkwire_router_closed_connections_total").value_or(0), 1);
  EXPECT_TRUE(router_->WaitUntilIdle());
  EXPECT_TRUE(worker_.WaitUntilIdle());
  EXPECT_TRUE(WaitForMemory(before + 50 * kMiB)) << router_->process().Memory() / kMiB << " MiB";
}

TEST_F(TransportTest, HalfOpenStreamsAreBoundedAndEnded) {
  // 41,000 calls are opened faster than a slow server ends them in turn; what it bounds is memory.
  if (kSanitized) GTEST_SKIP() << "sanitizers keep freed memory, and are slower than the flood";
  constexpr int kConnections = 40;
  constexpr int kStreams = 1024;
  const std::size_t before = router_->process().Memory();
  std::deque<RawHttp2> clients;
  for (int i = 0; i < kConnections; ++i) {
    RawHttp2& client = clients.emplace_back(From("127.0.0.2"));
    for (int k = 0; k < kStreams; ++k) client.OpenCall(kGenerate);
    client.Read(Clock::Duration::zero());
  }
  auto other = std::async(std::launch::async, [this] { return AskPatientlyFrom("127.0.0.3"); });
  std::map<std::string, int> ends;
  const auto all_over = [&] {
    for (RawHttp2& client : clients) client.Read(Clock::Duration::zero());  // and answer pings
    return std::ranges::all_of(clients, [](RawHttp2& client) {
      if (client.closed()) return true;
      for (std::uint32_t call = 1; call < 2 * kStreams; call += 2) {
        if (!client.stream(call).over()) return false;
      }
      return true;
    });
  };
  while (!all_over()) {
  }
  // A router that has no time to read a connection's first frame in 10 s closes it.
  const auto closed = static_cast<int>(std::ranges::count_if(clients, &RawHttp2::closed));
  for (RawHttp2& client : clients) {
    if (client.closed()) continue;
    for (std::uint32_t call = 1; call < 2 * kStreams; call += 2) {
      ++ends[rpc::ErrorReason(client.stream(call).Status())];
    }
  }
  EXPECT_EQ(other.get(), absl::OkStatus());
  // Some places were others' as the last calls came.
  EXPECT_GE(ends["MESSAGE_TIMEOUT"], closed == 0 ? 7000 : 0);
  EXPECT_LE(ends["MESSAGE_TIMEOUT"], 8192 * 8 / 9 + 1);
  EXPECT_EQ(ends["MESSAGE_TIMEOUT"] + ends["TOO_MANY_CALLS"], (kConnections - closed) * kStreams);
  EXPECT_TRUE(router_->WaitUntilIdle());
  // All may be there before gRPC lets anybody refuse one.
  EXPECT_LT(router_->process().PeakMemory(),
            before + kConnections * kStreams * std::size_t{20'000});
  EXPECT_TRUE(WaitForMemory(before + 50 * kMiB)) << router_->process().Memory() / kMiB << " MiB";
}

TEST_F(TransportTest, WhoDoesNotReadThatHeIsRefusedLosesHisConnections) {
  // Where the flood comes faster than it is looked at, there is more for a while.
  if (kSanitized) GTEST_SKIP() << "sanitizers keep freed memory, and are slower than the flood";
  constexpr int kConnections = 20;
  const std::size_t before = router_->process().Memory();
  std::deque<RawHttp2> clients;
  for (int i = 0; i < kConnections; ++i) {
    RawHttp2::Options unread = From("127.0.0.2");
    unread.receive_buffer_bytes = 1024;
    RawHttp2& client = clients.emplace_back(unread);
    for (int k = 0; k < kMaxStreamsOfConnection && !client.closed(); ++k) {
      client.OpenCall(kGenerate);
    }
  }
  while (router_->Metric("thinkwire_router_closed_connections_total").value_or(0) < 1) {
    std::this_thread::yield();
  }
  EXPECT_EQ(AskPatientlyFrom("127.0.0.3"), absl::OkStatus());
  clients.clear();
  EXPECT_TRUE(router_->WaitUntilIdle());
  EXPECT_TRUE(WaitForMemory(before + 50 * kMiB)) << router_->process().Memory() / kMiB << " MiB";
}

}  // namespace
}  // namespace thinkwire::integration

// A router in front of a worker that has more to do than it can, through real processes and
// sockets. The worker's steps take as long as a GPU's would, so that its rows do not hold each
// other up.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/status_details.h"
#include "tests/fakes/raw_http2.h"
#include "tests/integration/programs.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"
#include "tests/sanitized.h"

namespace thinkwire::integration {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr char kGenerate[] = "/thinkwire.v1.ReasoningService/Generate";
constexpr std::uint32_t kWide = 1 << 30;  // a window

// The middle one.
double Median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}

double MillisecondsSince(steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(steady_clock::now() - begin).count();
}

std::string Request(std::int32_t tokens) {
  v1::GenerateRequest request = AskGreedily("What is 27+48?");
  request.set_ignore_eos(true);
  request.set_max_tokens(tokens);
  return request.SerializeAsString();
}

class OverloadedWorkerTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(worker_.listening());
    router_ =
        std::make_unique<RouterProcess>("tiny-r1", absl::StrCat("127.0.0.1:", worker_.port()));
    EXPECT_GT(Ask("127.0.0.9", 32), 0) << "the router knows the worker's pace since";
  }

  // How long so many tokens take of one client, in milliseconds; 0: it failed.
  double Ask(const std::string& client, std::int32_t tokens) {
    RawHttp2 wire({.port = router_->port(), .source = client});
    const auto begin = steady_clock::now();
    const std::uint32_t call = wire.Call(kGenerate, Request(tokens));
    EXPECT_TRUE(wire.ReadUntilOver(call));
    EXPECT_EQ(wire.stream(call).Status(), absl::OkStatus());
    return wire.stream(call).Status().ok() ? MillisecondsSince(begin) : 0;
  }
  std::vector<double> AskOften(const std::string& client, std::int32_t tokens) {
    std::vector<double> times;
    for (int i = 0; i < 15; ++i) times.push_back(Ask(client, tokens));
    return times;
  }

  bool WaitForWaiting(double number) {
    const auto give_up = steady_clock::now() + kPatience;
    while (
        router_->Metric("thinkwire_router_waiting_requests", "{variant=\"tiny-r1\"}").value_or(0) <
        number) {
      if (steady_clock::now() > give_up) return false;
      std::this_thread::yield();
    }
    return true;
  }

  WorkerProcess worker_{{absl::StrCat("--model=", kTinyModel), "--max_num_seqs=4"},
                        0,
                        {kWorkerWithFaults, "--fault=slow_steps:2000"}};
  std::unique_ptr<RouterProcess> router_;
};

TEST_F(OverloadedWorkerTest, WhoWouldComeTooLateIsToldSoAtOnce) {
  constexpr int kWaiting = 30;
  RawHttp2 flood({.port = router_->port(), .source = "127.0.0.2", .window = kWide});
  flood.OpenWindow(0, kWide);
  for (int i = 0; i < kWaiting + 15; ++i) flood.Call(kGenerate, Request(512));  // a second each
  ASSERT_TRUE(WaitForWaiting(kWaiting));

  RawHttp2 wire({.port = router_->port(), .source = "127.0.0.2"});
  std::vector<double> times;
  for (int i = 0; i < 20; ++i) {
    const auto begin = steady_clock::now();
    const std::uint32_t call = wire.Call(kGenerate, Request(512), {{"grpc-timeout", "4S"}});
    ASSERT_TRUE(wire.ReadUntilOver(call));
    times.push_back(MillisecondsSince(begin));
    const absl::Status status = wire.stream(call).Status();
    EXPECT_EQ(rpc::ErrorReason(status), "DEADLINE_TOO_NEAR") << status;
    EXPECT_TRUE(rpc::RetryAfter(status));
    EXPECT_TRUE(std::ranges::any_of(wire.stream(call).trailers, [](const auto& trailer) {
      return trailer.first == "grpc-retry-pushback-ms";
    }));
  }
  RecordProperty("median_us", static_cast<int>(1000 * Median(times)));
  RecordProperty("longest_us", static_cast<int>(1000 * std::ranges::max(times)));
  EXPECT_LT(Median(times), kSanitized ? 500 : 50);
}

TEST_F(OverloadedWorkerTest, WhoFloodsItLeavesOthersTheirTime) {
  if (kSanitized) GTEST_SKIP() << "its rows take more than the steps then";
  constexpr std::int32_t kTokens = 64;
  const std::vector<double> alone = AskOften("127.0.0.3", kTokens);
  std::atomic<bool> over = false;
  std::thread flood([&] {
    RawHttp2 wire({.port = router_->port(), .source = "127.0.0.2"});
    std::vector<std::uint32_t> calls;
    for (int i = 0; i < 32; ++i) calls.push_back(wire.Call(kGenerate, Request(kTokens)));
    while (!over && !wire.closed()) {
      wire.Read(milliseconds(10));
      for (std::uint32_t& call : calls) {
        if (!wire.stream(call).over()) continue;
        wire.Forget(call);
        call = wire.Call(kGenerate, Request(kTokens));
      }
    }
    EXPECT_FALSE(wire.closed());
  });
  EXPECT_TRUE(WaitForWaiting(8));
  const std::vector<double> beside = AskOften("127.0.0.3", kTokens);
  over = true;
  flood.join();
  RecordProperty("alone_median_ms", static_cast<int>(Median(alone)));
  RecordProperty("beside_median_ms", static_cast<int>(Median(beside)));
  RecordProperty("beside_longest_ms", static_cast<int>(std::ranges::max(beside)));
  EXPECT_LT(Median(beside), 2 * Median(alone));
}

}  // namespace
}  // namespace thinkwire::integration

// Clients that send HTTP/2 frames and no calls, as fast as they are read, against router and
// worker; and honest clients beside them.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/http2_frames.h"
#include "tests/fakes/raw_http2.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"
#include "tests/sanitized.h"

namespace thinkwire::integration {
namespace {

using enum rpc::http2::FrameType;
using std::chrono::steady_clock;

constexpr char kGenerate[] = "/thinkwire.v1.ReasoningService/Generate";
constexpr std::size_t kMiB = std::size_t{1} << 20;

struct Flood {
  std::string name;
  std::vector<RawHttp2::Frame> frames;  // the last again and again
};

std::vector<Flood> Floods() {
  std::string headers;  // literals (RFC 7541, 6.2.2)
  for (int i = 0; i < 500; ++i) absl::StrAppend(&headers, absl::string_view("\0\1a\1b", 5));
  // One whose value has 2^28 bytes.
  const std::string header = std::string("\0\1a\x7f\x81\xff\xff\x7f", 8) + std::string(8000, 'x');
  return {{"settings", {{.type = kSettings}}},
          {"ping", {{.type = kPing, .payload = "12345678"}}},
          {"headers without an end",
           {{.type = kHeaders, .stream = 1, .payload = headers},
            {.type = kContinuation, .stream = 1, .payload = headers}}},
          {"a header without an end",
           {{.type = kHeaders, .stream = 1, .payload = header},
            {.type = kContinuation, .stream = 1, .payload = std::string(8000, 'x')}}}};
}

class FrameFloodsTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(worker_.listening());
    router_ =
        std::make_unique<RouterProcess>("tiny-r1", absl::StrCat("127.0.0.1:", worker_.port()));
    Ask();  // both have all that they allocate once
  }

  // A small question of somebody honest: how long it takes, in milliseconds.
  double Ask() {
    const auto begin = steady_clock::now();
    RawHttp2 wire({.port = router_->port(), .source = "127.0.0.3"});
    v1::GenerateRequest request = AskGreedily("What is 27+48?");
    request.set_max_tokens(16);
    const std::uint32_t call = wire.Call(kGenerate, request.SerializeAsString());
    EXPECT_TRUE(wire.ReadUntilOver(call));
    EXPECT_EQ(wire.stream(call).Status(), absl::OkStatus());
    return std::chrono::duration<double, std::milli>(steady_clock::now() - begin).count();
  }
  // As many as an honest client is sure to see what others do to it; sorted.
  std::vector<double> AskOften() {
    std::vector<double> times;
    for (int i = 0; i < 30; ++i) times.push_back(Ask());
    std::ranges::sort(times);
    return times;
  }

  // Floods the port, by new connections where one is closed, while honest clients ask.
  void ExpectToServeBeside(const Flood& flood, int port, Process& process) {
    const std::vector<double> alone = AskOften();
    const std::size_t before = process.Memory();
    std::atomic<bool> over = false;
    std::atomic<int> closed = 0;
    std::thread client([&] {
      while (!over) {
        RawHttp2 wire({.port = port, .source = "127.0.0.2"});
        // Its acknowledgement of settings would be an error within headers.
        wire.ReadUntil([&] { return wire.max_streams() > 0; });
        for (const RawHttp2::Frame& frame : flood.frames) wire.SendFrame(frame);
        while (!over && !wire.closed()) {
          for (int i = 0; i < 100; ++i) wire.SendFrame(flood.frames.back());
          wire.Read(Clock::Duration::zero());
        }
        if (wire.closed()) ++closed;
      }
    });
    const std::vector<double> beside = AskOften();
    over = true;
    client.join();
    EXPECT_GT(closed, 0) << flood.name;
    EXPECT_LT(beside.back(), kSanitized ? 20'000 : 2'000) << flood.name;
    if (!kSanitized) {
      EXPECT_LT(process.Memory(), before + 50 * kMiB) << flood.name;
    }
    const auto tell = [&](const std::string& what, double value) {
      RecordProperty(absl::StrCat(flood.name, " ", what), std::to_string(value));
    };
    tell("alone p50 ms", alone[alone.size() / 2]);
    tell("alone longest ms", alone.back());
    tell("beside p50 ms", beside[beside.size() / 2]);
    tell("beside longest ms", beside.back());
    tell("connections closed", closed);
    tell("MB more",
         static_cast<double>(process.Memory()) / 1e6 - static_cast<double>(before) / 1e6);
  }

  WorkerProcess worker_{{absl::StrCat("--model=", kTinyModel)}};
  std::unique_ptr<RouterProcess> router_;
};

TEST_F(FrameFloodsTest, ARouterClosesWhoSendsNoCallsAndServesTheOthers) {
  for (const Flood& flood : Floods()) {
    ExpectToServeBeside(flood, router_->port(), router_->process());
  }
}

TEST_F(FrameFloodsTest, AWorkerClosesWhoSendsNoCallsAndServesTheOthers) {
  for (const Flood& flood : Floods()) {
    ExpectToServeBeside(flood, worker_.port(), worker_.process());
  }
}

}  // namespace
}  // namespace thinkwire::integration

// Answers that are longer than their questions and that nobody reads leave room for others, through
// real processes and sockets.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/peer_limits.h"
#include "common/rpc/request_bytes.h"
#include "common/rpc/status_details.h"
#include "tests/fakes/raw_http2.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"

namespace thinkwire::integration {
namespace {

constexpr char kOfRouter[] = "/thinkwire.v1.ReasoningService/CountTokens";
constexpr char kOfWorker[] = "/thinkwire.v1.WorkerService/CountTokens";

// The ids of the tiny model's tokens take some twice as much as its text.
v1::CountTokensRequest Count(std::size_t bytes) {
  v1::CountTokensRequest request;
  std::string& text = *request.mutable_prompt()->mutable_text();
  while (text.size() < bytes) text += "\U0001f600";
  request.set_return_token_ids(true);
  return request;
}

v1::WorkerCountTokensRequest CountOfWorker(std::size_t bytes) {
  v1::WorkerCountTokensRequest request;
  *request.mutable_request() = Count(bytes);
  return request;
}

constexpr std::size_t kLargest = kMaxMessageBytes - 64;
constexpr std::size_t kLarge = 2 * kLargeRequestBytes;

class UnreadCountsTest : public testing::Test {
 protected:
  // Has as many of the largest texts counted as fill all that large ones may take, reads none of
  // the answers, and stays. Somebody else's question of some size is then answered.
  static void HoldAndAsk(int port, const std::string& path, const std::string& largest,
                         const std::string& large) {
    RawHttp2 client({.port = port, .source = "127.0.0.2", .window = 0});
    std::size_t refused = 0;
    for (std::size_t i = 0; i < rpc::RequestBytes::kMaxLargeBytes / largest.size(); ++i) {
      const std::uint32_t call = client.Call(path, largest);
      const RawHttp2::Stream& stream = client.stream(call);
      ASSERT_TRUE(client.ReadUntil([&] { return !stream.headers.empty() || stream.over(); }));
      if (!stream.over()) continue;
      EXPECT_EQ(rpc::ErrorReason(stream.Status()), "TOO_MANY_REQUEST_BYTES") << stream.Status();
      ++refused;
    }
    EXPECT_GT(refused, 0U);
    RawHttp2 other({.port = port, .source = "127.0.0.3"});
    const std::uint32_t call = other.Call(path, large);
    ASSERT_TRUE(other.ReadUntilOver(call));
    EXPECT_EQ(other.stream(call).Status(), absl::OkStatus());
  }

  WorkerProcess worker_{{absl::StrCat("--model=", kTinyModel)}};
};

TEST_F(UnreadCountsTest, OfARouterTheyHoldNoMoreThanTheirShare) {
  const RouterProcess router("tiny-r1", absl::StrCat("127.0.0.1:", worker_.port()));
  HoldAndAsk(router.port(), kOfRouter, Count(kLargest).SerializeAsString(),
             Count(kLarge).SerializeAsString());
}

TEST_F(UnreadCountsTest, OfAWorkerTheyHoldNoMoreThanTheirShare) {
  HoldAndAsk(worker_.port(), kOfWorker, CountOfWorker(kLargest).SerializeAsString(),
             CountOfWorker(kLarge).SerializeAsString());
}

}  // namespace
}  // namespace thinkwire::integration

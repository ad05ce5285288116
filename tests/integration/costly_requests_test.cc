// Requests that are costly to read, many at once, leave the streams of others alone.

#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "common/peer_limits.h"
#include "common/rpc/status_details.h"
#include "tests/fakes/raw_http2.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"
#include "tests/sanitized.h"

namespace thinkwire::integration {
namespace {

constexpr char kGenerate[] = "/thinkwire.v1.ReasoningService/Generate";
constexpr char kCountTokens[] = "/thinkwire.v1.ReasoningService/CountTokens";
constexpr char kWorkerCountTokens[] = "/thinkwire.v1.WorkerService/CountTokens";
constexpr int kAtOnce = 40;
// Of the list that fills a request, so that it is just below the limit of bytes.
constexpr std::size_t kListBytes = kMaxMessageBytes - 64;

std::string Repeat(const std::string& unit) {
  std::string bytes;
  while (bytes.size() + unit.size() <= kListBytes) bytes += unit;
  return bytes;
}

// A field of wire type 2.
std::string Field(int number, const std::string& value) {
  std::string bytes(1, static_cast<char>(number << 3 | 2));
  std::size_t size = value.size();
  for (; size >= 0x80; size >>= 7) bytes += static_cast<char>((size & 0x7F) | 0x80);
  return bytes + static_cast<char>(size) + value;
}

// The same for all methods that are asked here: their `prompt` is field 1.
std::string ChatOfEmptyMessages() { return Field(1, Field(1, Repeat(Field(1, "")))); }
std::string TextThatIsNotUtf8() { return Field(1, Field(2, Repeat("\u00e9") + "\xff")); }
std::string EmptyOutputs() { return Field(15, Repeat(Field(2, ""))); }
std::string OneBiasAgainAndAgain() { return Field(5, Repeat(Field(8, "\x08\x01"))); }

// Asks one question after another through a router and reads each answer to its end.
class HonestClient {
 public:
  explicit HonestClient(RouterProcess& router) : router_(router), thread_([this] { Run(); }) {}
  ~HonestClient() { Stop(); }

  // False: they did not come.
  bool WaitForEvents(int more) const {
    const auto give_up = std::chrono::steady_clock::now() + kPatience;
    const int enough = events_ + more;
    while (events_ < enough && std::chrono::steady_clock::now() < give_up) {
      std::this_thread::yield();
    }
    return events_ >= enough;
  }

  void Stop() {
    over_ = true;
    if (thread_.joinable()) thread_.join();
  }

  int longest_gap_ms() const { return longest_gap_ms_; }
  std::vector<std::string> failures() {
    MutexLock lock(mu_);
    return failures_;
  }

 private:
  void Run() {
    while (!over_) {
      const absl::Status status = ReadOne();
      MutexLock lock(mu_);
      if (!status.ok()) failures_.push_back(status.ToString());
    }
  }

  absl::Status ReadOne() {
    grpc::ClientContext context;
    v1::GenerateRequest request = AskGreedily("What is 27+48?");
    request.set_ignore_eos(true);
    const auto reader = router_.stub().Generate(&context, request);
    auto last = std::chrono::steady_clock::now();
    v1::GenerateResponse event;
    while (reader->Read(&event)) {
      const auto now = std::chrono::steady_clock::now();
      const auto gap = std::chrono::duration_cast<std::chrono::milliseconds>(now - last);
      longest_gap_ms_ = std::max(longest_gap_ms_.load(), static_cast<int>(gap.count()));
      last = now;
      ++events_;
    }
    return rpc::FromGrpc(reader->Finish());
  }

  RouterProcess& router_;
  std::atomic<bool> over_ = false;
  std::atomic<int> events_ = 0;
  std::atomic<int> longest_gap_ms_ = 0;
  Mutex mu_;
  std::vector<std::string> failures_ ABSL_GUARDED_BY(mu_);
  std::thread thread_;
};

// What each of so many clients is told that send the same at once, each on a connection of its own.
std::vector<absl::Status> SendAtOnce(int port, const std::string& path, const std::string& bytes) {
  std::vector<absl::Status> statuses(kAtOnce);
  std::vector<std::thread> clients;
  for (absl::Status& status : statuses) {
    clients.emplace_back([&] {
      RawHttp2 client({.port = port, .source = "127.0.0.2"});
      const std::uint32_t call = client.Call(path, bytes);
      EXPECT_TRUE(client.ReadUntilOver(call));
      status = client.stream(call).Status();
    });
  }
  for (std::thread& client : clients) client.join();
  return statuses;
}

// Each is refused for what is wrong with it, or as there are too many bytes in hand.
void ExpectRefusals(const std::vector<absl::Status>& statuses, const std::string& message) {
  int named = 0;
  for (const absl::Status& status : statuses) {
    if (rpc::ErrorReason(status) == "TOO_MANY_REQUEST_BYTES") continue;
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_EQ(status.message(), message);
    ++named;
  }
  EXPECT_GT(named, 0);
}

class CostlyRequestsTest : public testing::Test {
 protected:
  WorkerProcess worker_{{absl::StrCat("--model=", kTinyModel)}};
  RouterProcess router_{"tiny-r1", absl::StrCat("127.0.0.1:", worker_.port())};
};

TEST_F(CostlyRequestsTest, StreamsGoOnBesideManyAtOnce) {
  const std::string messages = absl::StrCat("prompt.chat.messages may have at most ", kMaxMessages,
                                            " elements in a request, has more");
  HonestClient honest(router_);
  ASSERT_TRUE(honest.WaitForEvents(100));
  RecordProperty("longest_gap_alone_ms", honest.longest_gap_ms());
  for (const char* const path : {kGenerate, kCountTokens}) {
    ExpectRefusals(SendAtOnce(router_.port(), path, ChatOfEmptyMessages()), messages);
    ExpectRefusals(SendAtOnce(router_.port(), path, TextThatIsNotUtf8()),
                   "prompt.text is not valid UTF-8");
  }
  ExpectRefusals(SendAtOnce(router_.port(), kGenerate, EmptyOutputs()),
                 absl::StrCat("resume.outputs may have at most ", kMaxOutputs,
                              " elements in a request, has more"));
  ExpectRefusals(SendAtOnce(router_.port(), kGenerate, OneBiasAgainAndAgain()),
                 absl::StrCat("reasoning_sampling.logit_bias may have at most ",
                              3 * kMaxLogitBiases, " elements in a request, has more"));
  ExpectRefusals(SendAtOnce(worker_.port(), kWorkerCountTokens, Field(1, ChatOfEmptyMessages())),
                 absl::StrCat("request.", messages));
  EXPECT_TRUE(honest.WaitForEvents(20));
  RecordProperty("longest_gap_ms", honest.longest_gap_ms());
  honest.Stop();
  // A sanitizer makes parsing so slow that beside other work the keepalive's second passes.
  if (!kSanitized) {
    EXPECT_EQ(honest.failures(), std::vector<std::string>{});
  }
}

}  // namespace
}  // namespace thinkwire::integration

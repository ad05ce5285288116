// What one client holds leaves room for another: bytes in hand, text threads and places in the
// queue, through real processes and sockets.

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "common/peer_limits.h"
#include "common/rpc/call_peer.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/request_bytes.h"
#include "common/rpc/status_details.h"
#include "tests/fakes/raw_http2.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"
#include "tests/sanitized.h"

namespace thinkwire::integration {
namespace {

constexpr char kGenerate[] = "/thinkwire.v1.ReasoningService/Generate";
constexpr char kWorkerGenerate[] = "/thinkwire.v1.WorkerService/Generate";

// A question of some `bytes` bytes, nearly all of them in an earlier turn that the template drops.
v1::GenerateRequest AskAfterMuchThought(std::size_t bytes) {
  v1::GenerateRequest request = AskGreedily("What is 27+48?");
  request.set_max_tokens(3);
  v1::Chat& chat = *request.mutable_prompt()->mutable_chat();
  v1::ChatMessage& answer = *chat.add_messages();
  answer.set_role(v1::ROLE_ASSISTANT);
  answer.set_content(absl::StrCat(std::string(bytes - 1024, 'x'), "</think>75"));
  *chat.add_messages() = chat.messages(0);
  return request;
}

v1::WorkerGenerateRequest ForWorker(const v1::GenerateRequest& request) {
  v1::WorkerGenerateRequest wrapped;
  *wrapped.mutable_request() = request;
  wrapped.set_request_id("shares");
  wrapped.set_attempt(1);
  return wrapped;
}

// Asks `path` at `port` as many questions of the largest size as fill all that large ones may take,
// from another address and without reading an answer, each once the one before is understood.
std::unique_ptr<RawHttp2> AskAndNeverRead(int port, const std::string& path,
                                          const google::protobuf::Message& question) {
  auto client = std::make_unique<RawHttp2>(
      RawHttp2::Options{.port = port, .source = "127.0.0.2", .window = 0});
  const std::string message = question.SerializeAsString();
  for (std::size_t i = 0; i < rpc::RequestBytes::kMaxLargeBytes / message.size(); ++i) {
    const std::uint32_t call = client->Call(path, message);
    const RawHttp2::Stream& stream = client->stream(call);
    EXPECT_TRUE(client->ReadUntil([&] { return !stream.headers.empty() || stream.over(); }));
    EXPECT_FALSE(stream.over());
  }
  return client;
}

int PortOf(const RouterProcess& router) {
  return std::stoi(router.address().substr(router.address().rfind(':') + 1));
}

absl::Status Ask(RouterProcess& router, const v1::GenerateRequest& request) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  const auto reader = router.stub().Generate(&context, request);
  v1::GenerateResponse event;
  while (reader->Read(&event)) {
  }
  return rpc::FromGrpc(reader->Finish());
}

class SharesTest : public testing::Test {
 protected:
  static constexpr std::size_t kLargest = kMaxMessageBytes;
  static constexpr std::size_t kLarge = std::size_t{200} << 10;

  void Start(const std::vector<std::string>& options = {}) {
    std::vector<std::string> all = {absl::StrCat("--model=", kTinyModel)};
    all.insert(all.end(), options.begin(), options.end());
    worker_.emplace(all);
    ASSERT_TRUE(worker_->listening());
    router_.emplace("tiny-r1", absl::StrCat("127.0.0.1:", worker_->port()));
  }

  std::optional<WorkerProcess> worker_;
  std::optional<RouterProcess> router_;
};

TEST_F(SharesTest, UnreadStreamsOfARouterHoldNoMoreThanTheyNeed) {
  Start();
  const auto unread = AskAndNeverRead(PortOf(*router_), kGenerate, AskAfterMuchThought(kLargest));
  const absl::Status status = Ask(*router_, AskAfterMuchThought(kLarge));
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(SharesTest, UnreadStreamsOfAWorkerHoldNoMoreThanTheyNeed) {
  Start();
  const auto unread =
      AskAndNeverRead(worker_->port(), kWorkerGenerate, ForWorker(AskAfterMuchThought(kLargest)));
  const absl::Status status = worker_->Generate(AskAfterMuchThought(kLarge)).status;
  EXPECT_TRUE(status.ok()) << status;
}

// Some `bytes` bytes of words that no tokenizer has seen before.
std::string StrangeWords(std::size_t bytes, unsigned seed) {
  std::mt19937 random(seed);
  std::string text;
  while (text.size() < bytes) {
    for (auto bits = random(); bits > 0; bits /= 26) text += static_cast<char>('a' + bits % 26);
    text += ' ';
  }
  return text;
}

// Counts the tokens of long texts, for one client, and waits for none of it.
class CountFlood {
 public:
  CountFlood(const std::string& address, const std::string& peer, int times, std::size_t bytes)
      : stub_(v1::WorkerService::NewStub(
            grpc::CreateChannel(address, grpc::InsecureChannelCredentials()))) {
    for (int i = 0; i < times; ++i) Add(peer, bytes);
    for (Call& call : calls_) Send(call);
  }
  ~CountFlood() { WaitForAll(); }

  int left() {
    MutexLock lock(mu_);
    return left_;
  }
  int counted() {
    MutexLock lock(mu_);
    return counted_;
  }
  void WaitForFirst() {
    MutexLock lock(mu_);
    while (counted_ == 0 && left_ > 0) changed_.Wait(mu_);
  }
  void WaitForAll() {
    MutexLock lock(mu_);
    while (left_ > 0) changed_.Wait(mu_);
  }

 private:
  struct Call {
    grpc::ClientContext context;
    v1::WorkerCountTokensRequest request;
    v1::WorkerCountTokensResponse response;
  };

  void Add(const std::string& peer, std::size_t bytes) {
    Call& call = calls_.emplace_back();
    call.context.AddMetadata(rpc::kPeerMetadata, peer);
    call.request.mutable_request()->mutable_prompt()->set_text(
        StrangeWords(bytes, static_cast<unsigned>(calls_.size())));
    MutexLock lock(mu_);
    ++left_;
  }

  void Send(Call& call) {
    stub_->async()->CountTokens(&call.context, &call.request, &call.response,
                                [this](const grpc::Status& status) { End(status.ok()); });
  }

  void End(bool counted) {
    MutexLock lock(mu_);  // told under it: who waits may then go
    --left_;
    if (counted) ++counted_;
    changed_.NotifyAll();
  }

  std::unique_ptr<v1::WorkerService::Stub> stub_;
  std::deque<Call> calls_;
  Mutex mu_;
  CondVar changed_;
  int left_ ABSL_GUARDED_BY(mu_) = 0;
  int counted_ ABSL_GUARDED_BY(mu_) = 0;
};

// Asks one question after another, and looks at the time between their events.
class SteadyReader {
 public:
  explicit SteadyReader(WorkerProcess& worker) : worker_(worker), thread_([this] { Read(); }) {}
  ~SteadyReader() {
    over_ = true;
    thread_.join();
  }

  // False: they did not come.
  bool WaitForEvents(int more) const {
    const auto give_up = std::chrono::steady_clock::now() + kPatience;
    const int enough = events_ + more;
    while (events_ < enough && std::chrono::steady_clock::now() < give_up) {
      std::this_thread::yield();
    }
    return events_ >= enough;
  }
  int longest_gap_ms() const { return longest_gap_ms_; }

 private:
  void Read() {
    v1::GenerateRequest endless = AskGreedily("What is 27+48?");
    endless.set_ignore_eos(true);
    auto last = std::chrono::steady_clock::now();
    while (!over_) {
      worker_.Generate(endless, std::nullopt, [&](const v1::WorkerGenerateResponse&) {
        const auto now = std::chrono::steady_clock::now();
        const auto gap = std::chrono::duration_cast<std::chrono::milliseconds>(now - last);
        longest_gap_ms_ = std::max(longest_gap_ms_.load(), static_cast<int>(gap.count()));
        last = now;
        ++events_;
        return !over_;
      });
    }
  }

  WorkerProcess& worker_;
  std::atomic<bool> over_ = false;
  std::atomic<int> events_ = 0;
  std::atomic<int> longest_gap_ms_ = 0;
  std::thread thread_;
};

// The figures are for whoever wants them (--gtest_output): what must hold is the order.
TEST_F(SharesTest, AFloodOfCountsHoldsNobodyUp) {
  if (kSanitized) GTEST_SKIP() << "sanitizers tokenise too slowly for this";
  Start();
  constexpr int kTimes = 1000;
  const SteadyReader reader(*worker_);
  ASSERT_TRUE(reader.WaitForEvents(100));
  RecordProperty("longest_gap_alone_ms", reader.longest_gap_ms());
  CountFlood flood(absl::StrCat("127.0.0.1:", worker_->port()), "flood", kTimes, 127 << 10);
  flood.WaitForFirst();

  const auto asked = std::chrono::steady_clock::now();
  grpc::ClientContext context;
  v1::WorkerCountTokensRequest small;
  small.mutable_request()->mutable_prompt()->set_text("What is 27+48?");
  v1::WorkerCountTokensResponse count;
  EXPECT_TRUE(worker_->stub().CountTokens(&context, small, &count).ok());
  RecordProperty("small_count_ms", static_cast<int>((std::chrono::steady_clock::now() - asked) /
                                                    std::chrono::milliseconds(1)));
  EXPECT_TRUE(reader.WaitForEvents(20));
  EXPECT_GT(flood.left(), kTimes / 4);

  flood.WaitForAll();
  RecordProperty("longest_gap_ms", reader.longest_gap_ms());
  RecordProperty("counted", flood.counted());
  RecordProperty("flood_ms", static_cast<int>((std::chrono::steady_clock::now() - asked) /
                                              std::chrono::milliseconds(1)));
}

// What it sends waits in the router, where others need not wait for it.
TEST_F(SharesTest, OneClientDoesNotFillTheQueueOfAWorker) {
  Start({"--max_num_seqs=1", "--max_queue=17"});
  v1::GenerateRequest endless = AskGreedily("What is 27+48?");
  endless.set_ignore_eos(true);
  RawHttp2 client({.port = PortOf(*router_), .source = "127.0.0.2"});
  for (int i = 0; i < 20; ++i) {
    const RawHttp2::Headers lie = {{rpc::kPeerMetadata, absl::StrCat("10.0.0.", i)}};
    const std::uint32_t call = client.Call(kGenerate, endless.SerializeAsString(), lie);
    const RawHttp2::Stream& stream = client.stream(call);
    ASSERT_TRUE(client.ReadUntil([&] { return !stream.headers.empty() || stream.over(); }));
    EXPECT_FALSE(stream.over());
  }
  EXPECT_LE(worker_->Metric("thinkwire_worker_queued_requests").value_or(0), LookAhead(1));

  grpc::ClientContext context;
  const auto reader = router_->stub().Generate(&context, endless);
  v1::GenerateResponse event;
  EXPECT_TRUE(reader->Read(&event));
  context.TryCancel();
  EXPECT_TRUE(absl::IsCancelled(rpc::FromGrpc(reader->Finish())));
}

v1::GenerateRequest AskEndlessly() {
  v1::GenerateRequest request = AskGreedily("What is 27+48?");
  request.set_ignore_eos(true);
  return request;
}

// More requests than the worker has places, running and waiting: the rest waits in the router, and
// what else goes to the worker goes on.
TEST_F(SharesTest, WhatAWorkerHasNoPlaceForWaitsInTheRouterAndNothingUnseen) {
  if (kSanitized) GTEST_SKIP() << "sanitizers are too slow for so many requests";
  constexpr int kPlaces = kMaxQueue + 1;
  constexpr int kMore = 20;
  // Trusted, and without names: no share limits either.
  worker_.emplace(std::vector<std::string>{absl::StrCat("--model=", kTinyModel), "--max_num_seqs=1",
                                           "--trusted_peers=127.0.0.1"});
  ASSERT_TRUE(worker_->listening());
  router_.emplace("tiny-r1", absl::StrCat("127.0.0.1:", worker_->port()),
                  std::vector<std::string>{"--trusted_peers=127.0.0.2"});
  RawHttp2 client({.port = PortOf(*router_), .source = "127.0.0.2"});
  const std::string endless = AskEndlessly().SerializeAsString();
  std::vector<std::uint32_t> calls;
  for (int i = 0; i < kPlaces + kMore; ++i) calls.push_back(client.Call(kGenerate, endless));
  const auto is_answered = [&](std::uint32_t call) {
    return !client.stream(call).headers.empty() || client.stream(call).over();
  };
  ASSERT_TRUE(client.ReadUntil([&] { return std::ranges::all_of(calls, is_answered); }));
  for (const std::uint32_t call : calls) {
    if (client.stream(call).over()) {
      EXPECT_EQ(client.stream(call).Status(), absl::OkStatus());
    }
  }

  grpc::ClientContext counting;
  counting.set_deadline(std::chrono::system_clock::now() + kPatience);
  v1::CountTokensRequest count;
  count.mutable_prompt()->set_text("What is 27+48?");
  v1::CountTokensResponse counted;
  EXPECT_TRUE(router_->stub().CountTokens(&counting, count, &counted).ok());
  grpc::ClientContext listing;
  v1::ListVariantsResponse variants;
  ASSERT_TRUE(router_->stub().ListVariants(&listing, {}, &variants).ok());
  ASSERT_EQ(variants.variants_size(), 1);
  EXPECT_EQ(variants.variants(0).live_workers(), 1);
  EXPECT_GT(variants.variants(0).queued(), kMaxQueue / 2);
  EXPECT_FALSE(absl::StrContains(router_->process().error(), "worker is not live"));
}

// One who is no forwarder, at a worker that has one: whatever names he gives.
TEST_F(SharesTest, NamesGivenByStrangersAreWorthNothing) {
  Start({"--max_num_seqs=1", "--max_queue=17", "--trusted_peers=127.0.0.1"});
  RawHttp2 client({.port = worker_->port(), .source = "127.0.0.2"});
  const v1::WorkerGenerateRequest endless = ForWorker(AskEndlessly());
  int refused = 0;
  for (int i = 0; i < 20; ++i) {
    const RawHttp2::Headers lie = {{rpc::kPeerMetadata, absl::StrCat("10.0.0.", i)}};
    const std::uint32_t call = client.Call(kWorkerGenerate, endless.SerializeAsString(), lie);
    const RawHttp2::Stream& stream = client.stream(call);
    ASSERT_TRUE(client.ReadUntil([&] { return !stream.headers.empty() || stream.over(); }));
    if (stream.over()) ++refused;
  }
  EXPECT_GE(refused, 3);  // of the 18 that fit

  grpc::ClientContext context;
  const auto reader = router_->stub().Generate(&context, AskEndlessly());
  v1::GenerateResponse event;
  EXPECT_TRUE(reader->Read(&event));
  context.TryCancel();
  EXPECT_TRUE(absl::IsCancelled(rpc::FromGrpc(reader->Finish())));
}

TEST_F(SharesTest, AWorkerMayTakeCallsOfItsRouterAlone) {
  Start({"--trusted_peers=127.0.0.1", "--trusted_peers_only"});
  RawHttp2 client({.port = worker_->port(), .source = "127.0.0.2"});
  const std::uint32_t call =
      client.Call(kWorkerGenerate, ForWorker(AskEndlessly()).SerializeAsString());
  ASSERT_TRUE(client.ReadUntilOver(call));
  EXPECT_EQ(rpc::ErrorReason(client.stream(call).Status()), "PEER_NOT_TRUSTED");
  v1::GenerateRequest request = AskGreedily("What is 27+48?");
  request.set_max_tokens(2);
  const absl::Status status = Ask(*router_, request);
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace
}  // namespace thinkwire::integration

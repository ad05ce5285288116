// Processes that are replaced one after another, while clients go on asking.

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "common/rpc/status_details.h"
#include "tests/fakes/fake_worker.h"
#include "tests/fakes/raw_http2.h"
#include "tests/integration/process.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"
#include "thinkwire/v1/reasoning.grpc.pb.h"

namespace thinkwire::integration {
namespace {

constexpr char kGenerate[] = "/thinkwire.v1.ReasoningService/Generate";

WorkerProcess TinyWorker() { return WorkerProcess({absl::StrCat("--model=", kTinyModel)}); }

std::string AddressOf(const WorkerProcess& worker) {
  return absl::StrCat("127.0.0.1:", worker.port());
}

v1::GenerateRequest ShortQuestion() {
  v1::GenerateRequest request = AskGreedily("What is 27+48?");
  request.set_max_tokens(8);
  return request;
}

// Reads one stream. Whether an event came before its end tells whether it may be tried again.
struct Answer {
  grpc::Status status;
  bool heard = false;
  v1::Started started;
};

Answer AskOnce(v1::ReasoningService::Stub& stub, const v1::GenerateRequest& request) {
  grpc::ClientContext context;
  const auto reader = stub.Generate(&context, request);
  Answer answer;
  v1::GenerateResponse event;
  while (reader->Read(&event)) {
    answer.heard = true;
    if (event.has_started()) answer.started = event.started();
  }
  answer.status = reader->Finish();
  return answer;
}

// Clients that ask again as soon as they have an answer, until they are told to stop.
class ClosedLoops {
 public:
  ClosedLoops(int number, std::function<Answer()> ask) : ask_(std::move(ask)) {
    for (int i = 0; i < number; ++i) threads_.emplace_back([this] { Run(); });
  }
  ~ClosedLoops() { Stop(); }

  // Waits until so many more have been answered.
  void WaitForMore(int number) {
    const int target = answered_ + number;
    const auto give_up = std::chrono::steady_clock::now() + kPatience;
    MutexLock lock(mu_);
    while (answered_ < target && std::chrono::steady_clock::now() < give_up) {
      changed_.WaitFor(mu_, std::chrono::seconds(1));
    }
    EXPECT_GE(answered_, target);
  }

  void Stop() {
    stopping_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  std::vector<std::string> failures() {
    MutexLock lock(mu_);
    return failures_;
  }

 private:
  void Run() {
    while (!stopping_) {
      const Answer answer = ask_();
      MutexLock lock(mu_);
      ++answered_;
      if (!answer.status.ok()) {
        failures_.push_back(absl::StrCat(answer.status.error_code(), " ",
                                         answer.status.error_message(),
                                         answer.heard ? " late" : ""));
      }
      changed_.NotifyAll();
    }
  }

  const std::function<Answer()> ask_;
  std::atomic<bool> stopping_ = false;
  std::atomic<int> answered_ = 0;
  Mutex mu_;
  CondVar changed_;
  std::vector<std::string> failures_ ABSL_GUARDED_BY(mu_);
  std::vector<std::thread> threads_;
};

TEST(RolloutTest, NobodyNoticesThatAWorkerIsReplaced) {
  WorkerProcess leaving = TinyWorker();
  WorkerProcess staying = TinyWorker();
  ASSERT_TRUE(leaving.listening() && staying.listening());
  RouterProcess router("tiny-r1", {AddressOf(leaving), AddressOf(staying)});
  ClosedLoops clients(4, [&] { return AskOnce(router.stub(), ShortQuestion()); });
  clients.WaitForMore(20);
  leaving.process().Signal(SIGTERM);
  EXPECT_EQ(leaving.process().Wait(), 0);
  clients.WaitForMore(40);
  clients.Stop();
  EXPECT_EQ(clients.failures(), std::vector<std::string>{});
}

TEST(RolloutTest, CountsGoToAnotherWorkerWhileOneDrains) {
  WorkerProcess leaving = TinyWorker();
  WorkerProcess staying = TinyWorker();
  ASSERT_TRUE(leaving.listening() && staying.listening());
  RouterProcess router("tiny-r1", {AddressOf(leaving), AddressOf(staying)});
  v1::CountTokensRequest request;
  request.mutable_prompt()->set_text("What is 27+48?");
  ClosedLoops clients(4, [&] {
    grpc::ClientContext context;
    v1::CountTokensResponse count;
    Answer answer;
    answer.status = router.stub().CountTokens(&context, request, &count);
    return answer;
  });
  clients.WaitForMore(100);
  leaving.process().Signal(SIGTERM);
  EXPECT_EQ(leaving.process().Wait(), 0);
  clients.WaitForMore(100);
  clients.Stop();
  EXPECT_EQ(clients.failures(), std::vector<std::string>{});
}

TEST(RolloutTest, NobodyNoticesThatARouterIsReplacedWhoRetriesUnavailable) {
  FakeWorker worker("fake");
  worker.SetScript({.events = SmallStream()});
  RouterProcess leaving("fake", worker.address());
  RouterProcess staying("fake", worker.address());
  grpc::ChannelArguments arguments;
  arguments.SetLoadBalancingPolicyName("round_robin");
  const auto stub = v1::ReasoningService::NewStub(grpc::CreateCustomChannel(
      absl::StrCat("ipv4:127.0.0.1:", leaving.port(), ",127.0.0.1:", staying.port()),
      grpc::InsecureChannelCredentials(), arguments));
  ClosedLoops clients(4, [&] {
    Answer answer = AskOnce(*stub, ShortQuestion());
    const auto give_up = std::chrono::steady_clock::now() + kPatience;
    while (answer.status.error_code() == grpc::StatusCode::UNAVAILABLE && !answer.heard &&
           std::chrono::steady_clock::now() < give_up) {
      answer = AskOnce(*stub, ShortQuestion());
    }
    return answer;
  });
  clients.WaitForMore(50);
  leaving.process().Signal(SIGTERM);
  EXPECT_EQ(leaving.process().Wait(), 0);
  clients.WaitForMore(50);
  clients.Stop();
  EXPECT_EQ(clients.failures(), std::vector<std::string>{});
}

TEST(RolloutTest, ARouterThatDrainsSendsIdleClientsAwayWhileStreamsGoOn) {
  FakeWorker worker("fake");
  auto events = SmallStream();
  events.resize(3);
  worker.SetScript({.events = events, .stays_open = true});
  RouterProcess router("fake", worker.address(), {"--drain_timeout_s=600"});
  RawHttp2 idle({.port = router.port()});
  RawHttp2 client({.port = router.port()});
  const std::uint32_t stream = client.Call(kGenerate, ShortQuestion().SerializeAsString());
  ASSERT_TRUE(client.ReadUntil([&] { return client.stream(stream).Messages().size() == 3; }));
  router.process().Signal(SIGTERM);
  idle.ReadUntil([&] { return idle.closed(); });
  EXPECT_TRUE(idle.closed());
  client.Read(std::chrono::milliseconds(300));
  EXPECT_FALSE(client.closed());
  EXPECT_FALSE(client.stream(stream).over());
  const std::uint32_t refused = client.Call(kGenerate, ShortQuestion().SerializeAsString());
  ASSERT_TRUE(client.ReadUntilOver(refused));
  EXPECT_EQ(rpc::ErrorReason(client.stream(refused).Status()), "DRAINING");
  EXPECT_TRUE(rpc::RetryAfter(client.stream(refused).Status()).has_value());
  client.Reset(stream);
  EXPECT_EQ(router.process().Wait(), 0);
}

// What one client asks through its own connection, from an address of its own.
v1::Started StartedFor(const RouterProcess& router, const std::string& source,
                       const v1::GenerateRequest& request) {
  RawHttp2 client({.port = router.port(), .source = source});
  const std::uint32_t stream = client.Call(kGenerate, request.SerializeAsString());
  EXPECT_TRUE(client.ReadUntilOver(stream));
  EXPECT_TRUE(client.stream(stream).Status().ok()) << client.stream(stream).Status();
  for (const std::string& bytes : client.stream(stream).Messages()) {
    v1::GenerateResponse event;
    EXPECT_TRUE(event.ParseFromString(bytes));
    if (event.has_started()) return event.started();
  }
  return {};
}

class SharedPrefixTest : public testing::Test {
 protected:
  SharedPrefixTest() {
    std::string question = "What is 1";
    for (int i = 2; i < 40; ++i) absl::StrAppend(&question, "+", i);
    request_ = AskGreedily(question + "?");
    request_.set_max_tokens(2);
  }
  int Cached(const RouterProcess& router, const std::string& source, const std::string& salt = "") {
    request_.set_cache_salt(salt);
    return StartedFor(router, source, request_).cached_prompt_tokens();
  }

  WorkerProcess worker_ = TinyWorker();
  v1::GenerateRequest request_;
};

TEST_F(SharedPrefixTest, NobodyLearnsWhatAnotherAddressHasAsked) {
  RouterProcess router("tiny-r1", AddressOf(worker_));
  EXPECT_EQ(Cached(router, "127.0.0.1"), 0);
  EXPECT_GT(Cached(router, "127.0.0.1"), 0);
  EXPECT_EQ(Cached(router, "127.0.0.2"), 0);
  EXPECT_GT(Cached(router, "127.0.0.2"), 0);
  EXPECT_EQ(Cached(router, "127.0.0.1", "salt"), 0);
  // Another router's salts are others.
  RouterProcess other("tiny-r1", AddressOf(worker_));
  EXPECT_EQ(Cached(other, "127.0.0.1"), 0);
}

TEST_F(SharedPrefixTest, RoutersOfOneKeyGiveTheSameSalts) {
  const std::string key = absl::StrCat(testing::TempDir(), "salt-key-of-routers-", getpid());
  std::ofstream(key) << "known to routers alone";
  const std::vector<std::string> options = {"--cache_salt_key_file", key};
  RouterProcess router("tiny-r1", AddressOf(worker_), options);
  RouterProcess other("tiny-r1", AddressOf(worker_), options);
  std::filesystem::remove(key);
  EXPECT_EQ(Cached(router, "127.0.0.1", "salt"), 0);
  EXPECT_GT(Cached(other, "127.0.0.1", "salt"), 0);
  EXPECT_EQ(Cached(other, "127.0.0.2", "salt"), 0);
  for (RouterProcess* const logged : {&router, &other}) {
    EXPECT_FALSE(absl::StrContains(logged->process().error(), "known to routers"));
  }
}

TEST_F(SharedPrefixTest, ARouterMayBeToldToShare) {
  RouterProcess router("tiny-r1", AddressOf(worker_), {"--share_prefixes"});
  EXPECT_EQ(Cached(router, "127.0.0.1"), 0);
  EXPECT_GT(Cached(router, "127.0.0.2"), 0);
  EXPECT_EQ(Cached(router, "127.0.0.2", "salt"), 0);
}

}  // namespace
}  // namespace thinkwire::integration

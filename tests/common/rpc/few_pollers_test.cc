#include "common/rpc/few_pollers.h"

#include <grpc/grpc.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "common/peer_limits.h"
#include "common/rpc/channel.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/raw_service.h"
#include "common/rpc/server_call.h"
#include "thinkwire/v1/worker.grpc.pb.h"

namespace thinkwire::rpc {
namespace {

// Answers each call once `react`, on the thread that brought its message, has returned.
class ReactingService final : public RawService {
 public:
  using React = std::function<void(const grpc::ByteBuffer& message)>;
  explicit ReactingService(React react) {
    AddMethod(v1::WorkerService::service_full_name(), "AnswerNow",
              [react = std::move(react)](const grpc::CallbackServerContext& /*context*/) {
                return std::make_shared<Call>(react);
              });
  }

 private:
  class Call final : public ServerCall {
   public:
    explicit Call(const React& react) : ServerCall(1), react_(react) {}

   private:
    void OnMessage(grpc::ByteBuffer message) override {
      react_(message);
      Write(v1::WorkerAnswerNowResponse());
      Finish(absl::OkStatus());
    }
    const React& react_;
  };
};

class FewPollersTest : public testing::Test {
 protected:
  void Start(ReactingService::React react) {
    service_.emplace(std::move(react));
    server_ = *GrpcServer::Start({.listen = "127.0.0.1:0", .services = {&*service_}});
    stub_ = v1::WorkerService::NewStub(MakeChannel(absl::StrCat("127.0.0.1:", server_->port())));
  }
  // The call's end.
  std::future<grpc::Status> Call(std::size_t bytes) {
    return std::async(std::launch::async, [this, bytes] {
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
      v1::WorkerAnswerNowRequest request;
      request.set_request_id(std::string(bytes, 'x'));
      v1::WorkerAnswerNowResponse response;
      return stub_->AnswerNow(&context, request, &response);
    });
  }

  std::optional<ReactingService> service_;
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<v1::WorkerService::Stub> stub_;
};

TEST_F(FewPollersTest, AllReactionsRunOnOneThread) {
  Mutex mu;
  std::set<std::thread::id> threads;
  Start([&](const grpc::ByteBuffer& /*message*/) {
    MutexLock lock(mu);
    threads.insert(std::this_thread::get_id());
  });
  std::vector<std::future<grpc::Status>> ends;
  for (int i = 0; i < 16; ++i) ends.push_back(Call(10));
  for (auto& end : ends) EXPECT_TRUE(end.get().ok());
  EXPECT_EQ(threads.size(), 1u);
}

// Twenty at a time, as long as the reactions of one thread would take all of its time.
TEST_F(FewPollersTest, AnotherThreadHelpsOneThatIsBusy) {
  Mutex mu;
  std::set<std::thread::id> threads;
  std::atomic<bool> enough = false;
  Start([&](const grpc::ByteBuffer& /*message*/) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(500);
    while (std::chrono::steady_clock::now() < until) {
    }
    MutexLock lock(mu);
    threads.insert(std::this_thread::get_id());
    enough = threads.size() > 1;
  });
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!enough && std::chrono::steady_clock::now() < give_up) {
    std::vector<std::future<grpc::Status>> ends;
    for (int i = 0; i < 20; ++i) ends.push_back(Call(10));
    for (auto& end : ends) EXPECT_TRUE(end.get().ok());
  }
  EXPECT_TRUE(enough);
}

TEST_F(FewPollersTest, ALargeMessageHoldsUpNobody) {
  std::promise<void> answered;
  std::shared_future<void> other = answered.get_future().share();
  std::promise<void> began;
  Start([&](const grpc::ByteBuffer& message) {
    if (message.Length() <= kLongPromptBytes) return;
    began.set_value();
    EXPECT_EQ(other.wait_for(std::chrono::seconds(30)), std::future_status::ready);
  });
  std::future<grpc::Status> large = Call(2 * kLongPromptBytes);
  began.get_future().wait();
  EXPECT_TRUE(Call(10).get().ok());
  answered.set_value();
  EXPECT_TRUE(large.get().ok());
}

// Says how often it was told.
class Waiter final : public AtRest {
 public:
  explicit Waiter(std::function<void()> then = [] {}) : then_(std::move(then)) {}
  int times() const { return times_; }
  std::promise<void> told;

 private:
  void OnRest() override {
    then_();
    if (++times_ == 1) told.set_value();
  }
  const std::function<void()> then_;
  std::atomic<int> times_ = 0;
};

TEST_F(FewPollersTest, WhoWaitsIsToldOnceAfterTheReactions) {
  const auto second = std::make_shared<Waiter>();
  const auto first = std::make_shared<Waiter>([&] { TellAtRest(second); });
  Start([&](const grpc::ByteBuffer& /*message*/) {
    const int times = first->times();
    TellAtRest(first);
    EXPECT_EQ(first->times(), times);
  });
  EXPECT_TRUE(Call(10).get().ok());
  // Nothing else happens that would have the thread look at them.
  first->told.get_future().wait();
  second->told.get_future().wait();
  EXPECT_TRUE(Call(10).get().ok());
  server_.reset();
  EXPECT_EQ(first->times(), 2);
  EXPECT_EQ(second->times(), 2);
}

// Those that come one by one have nothing to wait for; those that come together are waited for
// again soon after.
TEST_F(FewPollersTest, ReactionsThatComeTogetherAreWaitedForAgain) {
  std::atomic<int> ran = 0;
  std::atomic<int> most = 0;  // that ran between a reaction and its waiter's turn
  Start([&](const grpc::ByteBuffer& message) {
    // The others of its time arrive meanwhile.
    if (message.Length() > 100) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    TellAtRest(std::make_shared<Waiter>(
        [&, before = ++ran] { most = std::max<int>(most, ran - before); }));
  });
  for (int i = 0; i < 40; ++i) EXPECT_TRUE(Call(10).get().ok());
  most = 0;
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (most == 0 && std::chrono::steady_clock::now() < give_up) {
    std::vector<std::future<grpc::Status>> ends;
    for (const std::size_t bytes : {1000, 10, 10, 10}) ends.push_back(Call(bytes));
    for (auto& end : ends) EXPECT_TRUE(end.get().ok());
  }
  server_.reset();
  EXPECT_GT(most, 0);
}

TEST_F(FewPollersTest, WhoLetsAnotherPollTellsFirst) {
  const auto waiter = std::make_shared<Waiter>();
  Start([&](const grpc::ByteBuffer& /*message*/) {
    TellAtRest(waiter);
    LetAnotherPoll();
    EXPECT_EQ(waiter->times(), 1);
    TellAtRest(waiter);  // of a thread that does not poll any more
    EXPECT_EQ(waiter->times(), 2);
  });
  EXPECT_TRUE(Call(10).get().ok());
  EXPECT_EQ(waiter->times(), 2);
}

TEST(TellAtRestTest, AThreadThatDoesNotPollTellsAtOnce) {
  const auto waiter = std::make_shared<Waiter>();
  TellAtRest(waiter);
  EXPECT_EQ(waiter->times(), 1);
}

// A thread of that name that asks an empty queue for an event by a time that is over.
class Asking {
 public:
  explicit Asking(const char* name) {
    PollWithFewThreads();
    thread_ = std::thread([this, name] {
      pthread_setname_np(pthread_self(), name);
      Ask();
    });
  }
  ~Asking() {
    if (thread_.joinable()) Join();
    grpc_completion_queue_destroy(queue_);
  }

  bool IsTold(std::chrono::milliseconds within) {
    return told_.wait_for(within) == std::future_status::ready;
  }
  grpc_completion_type Told() { return told_.get(); }
  void Join() {
    grpc_completion_queue_shutdown(queue_);
    thread_.join();
  }

 private:
  void Ask() {
    const gpr_timespec past = gpr_inf_past(GPR_CLOCK_MONOTONIC);
    grpc_event event = grpc_completion_queue_next(queue_, past, nullptr);
    tell_.set_value(event.type);
    while (event.type != GRPC_QUEUE_SHUTDOWN) {
      event = grpc_completion_queue_next(queue_, past, nullptr);
    }
  }

  struct Library {
    Library() { grpc_init(); }
    ~Library() { grpc_shutdown(); }
  };

  Library library_;
  grpc_completion_queue* const queue_ = grpc_completion_queue_create_for_next(nullptr);
  std::promise<grpc_completion_type> tell_;
  std::future<grpc_completion_type> told_ = tell_.get_future();
  std::thread thread_;
};

TEST(PollWithFewThreadsTest, WhoPollsForCallbacksDoesNotRest) {
  Asking asking("nexting_thread");
  EXPECT_FALSE(asking.IsTold(std::chrono::milliseconds(20)));
  asking.Join();
  EXPECT_EQ(asking.Told(), GRPC_QUEUE_SHUTDOWN);
}

TEST(PollWithFewThreadsTest, OtherQueuesAreAsTheyWere) {
  EXPECT_EQ(Asking("another").Told(), GRPC_QUEUE_TIMEOUT);
}

}  // namespace
}  // namespace thinkwire::rpc

#include "router/fleet/worker_client.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/peer_limits.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/raw_service.h"
#include "common/rpc/server_call.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_worker.h"
#include "thinkwire/v1/worker.grpc.pb.h"

namespace thinkwire::router::fleet {
namespace {

// A worker whose connections carry one call each: an answer to a watch, or none at all.
class NarrowWorker final : public rpc::RawService {
 public:
  NarrowWorker() {
    const std::string service = v1::WorkerService::service_full_name();
    AddMethod(service, "WatchStatus", [this](const grpc::CallbackServerContext&) {
      return watch_ = std::make_shared<Watched>();
    });
    AddMethod(service, "Generate", [this](const grpc::CallbackServerContext&) {
      generating_.Notify();
      return std::make_shared<Watched>();
    });
    server_ = *rpc::GrpcServer::Start(
        {.listen = "127.0.0.1:0", .services = {this}, .health_names = {}, .max_streams = 1});
  }
  ~NarrowWorker() override {
    watch_.reset();
    server_->Shutdown(Clock::Duration::zero());
  }

  std::string address() const { return absl::StrCat("127.0.0.1:", server_->port()); }
  void WaitForGenerate() const { generating_.WaitForNotification(); }
  // REQUIRES: a watch has begun.
  void Tell() const { watch_->Write(v1::WatchStatusResponse()); }

 private:
  struct Watched final : rpc::ServerCall {
    Watched() : ServerCall(2) {}
    void OnMessage(grpc::ByteBuffer) override { Write(v1::WatchStatusResponse()); }
  };

  std::shared_ptr<Watched> watch_;
  absl::Notification generating_;
  std::unique_ptr<rpc::GrpcServer> server_;
};

TEST(WorkerClientTest, AStatusDoesNotWaitForCallsThatFillTheirConnection) {
  struct Endless : WorkerAttempt::Reader {
    bool OnMessage(v1::WorkerGenerateResponse&&) override { return true; }
    void OnEnd(const absl::Status&) override { ended.Notify(); }
    absl::Notification ended;
  };
  NarrowWorker worker;
  const WorkerClient client(worker.address(), Clock::Real());
  absl::BlockingCounter statuses(2);
  absl::Notification first;
  absl::Notification ended;
  const auto watch = client.Watch(
      [&](const WorkerClient::StatusResult&) {
        if (!first.HasBeenNotified()) first.Notify();
        statuses.DecrementCount();
      },
      [&](const absl::Status&) { ended.Notify(); });
  first.WaitForNotification();
  const auto endless = std::make_shared<Endless>();
  const auto attempt = client.Generate({}, endless);
  attempt->Start({});
  worker.WaitForGenerate();
  worker.Tell();
  statuses.Wait();
  watch->Cancel();
  attempt->Cancel();
  ended.WaitForNotification();
  endless->ended.WaitForNotification();
}

TEST(WorkerClientTest, AFloodOfStatusesEndsTheWatch) {
  const FakeClock clock;
  FakeWorker worker("qwen-7b");
  const WorkerClient client(worker.address(), clock);
  std::atomic<int> statuses = 0;
  absl::Notification ended;
  absl::StatusCode code = absl::StatusCode::kOk;
  const auto watch = client.Watch([&](const WorkerClient::StatusResult&) { ++statuses; },
                                  [&](const absl::Status& status) {
                                    code = status.code();
                                    ended.Notify();
                                  });
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  for (int i = 0; !ended.HasBeenNotified(); ++i) {
    ASSERT_LT(std::chrono::steady_clock::now(), give_up);
    worker.SetStatus([=](v1::WatchStatusResponse& status) { status.set_queued(i % 2); });
    if (i > 10 * kSignBurst && statuses > kSignBurst) watch->Cancel();  // it did not end
  }
  EXPECT_EQ(code, absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(statuses, kSignBurst);
}

// Nobody listens there.
constexpr char kNowhere[] = "127.0.0.1:1";

// Starts a call and destroys the process's only client, and with it its channel, while the call's
// end is still being told: `start` passes on what is to be called at its end.
void DestroyWhileACallEnds(
    const std::function<void(const WorkerClient&, std::function<void()>)>& start) {
  auto client = std::make_unique<WorkerClient>(kNowhere, Clock::Real());
  absl::Notification ended;
  absl::Notification destroyed;
  start(*client, [&] {
    ended.Notify();
    // In vain: as the last to let go, the client waits for gRPC's threads, of which this is one.
    EXPECT_FALSE(destroyed.WaitForNotificationWithTimeout(absl::Milliseconds(100)));
  });
  ended.WaitForNotification();
  client.reset();
  destroyed.Notify();
}

// gRPC aborts the process otherwise, soon after, if nothing else is left that uses it.
TEST(WorkerClientTest, NoGrpcThreadLetsGoOfTheLastChannel) {
  DestroyWhileACallEnds([](const WorkerClient& client, std::function<void()> end) {
    client.Watch([](const WorkerClient::StatusResult&) {},
                 [end = std::move(end)](const absl::Status& status) {
                   EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
                   end();
                 });
  });
  DestroyWhileACallEnds([](const WorkerClient& client, std::function<void()> end) {
    client.CountTokens({}, {}, [end = std::move(end)](const WorkerClient::CountResult& result) {
      EXPECT_EQ(result.status().code(), absl::StatusCode::kUnavailable);
      end();
    });
  });
  DestroyWhileACallEnds([](const WorkerClient& client, std::function<void()> end) {
    struct Reader : WorkerAttempt::Reader {
      explicit Reader(std::function<void()> end) : end(std::move(end)) {}
      bool OnMessage(v1::WorkerGenerateResponse&&) override { return true; }
      void OnEnd(const absl::Status& status) override {
        EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
        end();
      }
      const std::function<void()> end;
    };
    client.Generate({}, std::make_shared<Reader>(std::move(end)))->Start({});
  });
}

}  // namespace
}  // namespace thinkwire::router::fleet

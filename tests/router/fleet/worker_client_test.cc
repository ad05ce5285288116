#include "router/fleet/worker_client.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "common/clock.h"

namespace thinkwire::router::fleet {
namespace {

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
      bool OnMessage(v1::WorkerGenerateResponse) override { return true; }
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

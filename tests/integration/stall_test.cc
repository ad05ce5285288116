// A worker that stops making progress says so and ends; one that is idle, or was itself stopped,
// does not.

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "tests/integration/programs.h"
#include "tests/integration/worker_process.h"

namespace thinkwire::integration {
namespace {

using grpc::health::v1::HealthCheckResponse;
using std::chrono::steady_clock;

constexpr int kExitStalled = 70;
constexpr std::chrono::seconds kLimit{3};
// The machine may be busy: what is measured ends a little later than the limit.
constexpr std::chrono::seconds kSlack{1};

std::string Limit() { return absl::StrCat("--step_timeout_s=", kLimit.count()); }
std::string Model() { return absl::StrCat("--model=", kTinyModel); }

// The worker that fails on purpose, as tests/fakes/fault.h reads it.
std::vector<std::string> Faulty(const std::string& fault) {
  return {kWorkerWithFaults, absl::StrCat("--fault=", fault)};
}

// Reads the statuses of one server, from now on.
class HealthWatch {
 public:
  explicit HealthWatch(int port)
      : stub_(grpc::health::v1::Health::NewStub(grpc::CreateChannel(
            absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials()))),
        stream_(stub_->Watch(&context_, {})) {}

  // HealthCheckResponse::UNKNOWN once the server is gone.
  HealthCheckResponse::ServingStatus Next() {
    HealthCheckResponse response;
    return stream_->Read(&response) ? response.status() : HealthCheckResponse::UNKNOWN;
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::health::v1::Health::Stub> stub_;
  std::unique_ptr<grpc::ClientReader<HealthCheckResponse>> stream_;
};

v1::GenerateRequest Endless() {
  v1::GenerateRequest request = Ask("What is 27+48?", 1);
  request.set_ignore_eos(true);
  return request;
}

// The worker stalls while it generates. Returns what it says of that.
std::string EndOfStalled(WorkerProcess& worker) {
  HealthWatch health(worker.port());
  EXPECT_EQ(health.Next(), HealthCheckResponse::SERVING);
  auto last_event = steady_clock::now();
  const Generation all =
      worker.Generate(Endless(), std::nullopt, [&](const v1::WorkerGenerateResponse&) {
        last_event = steady_clock::now();
        return true;
      });
  EXPECT_EQ(all.status.code(), absl::StatusCode::kUnavailable) << all.status;
  EXPECT_FALSE(all.ids.empty());
  EXPECT_EQ(worker.process().Wait(), kExitStalled) << worker.process().error();
  EXPECT_LT(steady_clock::now() - last_event, kLimit + kSlack);
  EXPECT_EQ(health.Next(), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(health.Next(), HealthCheckResponse::UNKNOWN);

  const std::string error = worker.process().error();
  const auto record = nlohmann::json::parse(error.substr(error.rfind('\n', error.size() - 2) + 1));
  EXPECT_EQ(record["level"], "error") << error;
  EXPECT_EQ(error.find("no progress"), error.rfind("no progress")) << error;
  return record["message"];
}

TEST(StallTest, ARankThatNeverEntersACollectiveEndsTheWorker) {
  WorkerProcess worker({Model(), Limit(), "--tensor_parallel_size=2"}, 0,
                       Faulty("stuck_rank:20:1"));
  ASSERT_TRUE(worker.listening());
  const std::string message = EndOfStalled(worker);
  EXPECT_NE(message.find("step 20 is not done, rank 0 last beat in step 20 layer 1, rank 1 last "
                         "beat in step 19"),
            std::string::npos)
      << message;
  EXPECT_TRUE(message.ends_with("rank 1 is behind")) << message;
}

TEST(StallTest, AnEngineThatHangsEndsTheWorker) {
  WorkerProcess worker({Model(), Limit()}, 0, Faulty("stuck_engine:20"));
  ASSERT_TRUE(worker.listening());
  const std::string message = EndOfStalled(worker);
  EXPECT_NE(message.find("the engine thread is stuck in its turn"), std::string::npos) << message;
}

TEST(StallTest, AnIdleWorkerLivesOn) {
  WorkerProcess worker({Model(), "--step_timeout_s=2"});
  ASSERT_TRUE(worker.listening());
  const Generation before = worker.Generate(AskGreedily("What is 27+48?"));
  std::this_thread::sleep_for(std::chrono::seconds(3));
  const Generation after = worker.Generate(AskGreedily("What is 27+48?"));
  EXPECT_TRUE(after.status.ok()) << after.status;
  EXPECT_EQ(after.ids, before.ids);
}

TEST(StallTest, AWorkerThatWasStoppedByASignalGoesOn) {
  WorkerProcess worker({Model(), "--step_timeout_s=2"});
  ASSERT_TRUE(worker.listening());
  v1::GenerateRequest request = Endless();
  request.set_max_tokens(200);
  int events = 0;
  const Generation all =
      worker.Generate(request, std::nullopt, [&](const v1::WorkerGenerateResponse&) {
        if (++events == 10) {
          worker.process().Signal(SIGSTOP);
          std::this_thread::sleep_for(std::chrono::seconds(3));
          worker.process().Signal(SIGCONT);
        }
        return true;
      });
  EXPECT_TRUE(all.status.ok()) << all.status;
  EXPECT_EQ(all.ids.size(), 200U);
}

TEST(StallTest, WrongFaultsEndInOneLine) {
  for (const char* fault : {"stuck_rank", "stuck_rank:0:0", "stuck_rank:1", "stuck_rank:1:-1",
                            "stuck_engine:1:1", "stuck_rank:1:1", "device_error:1:0", "x:1:1"}) {
    Process process({kWorkerWithFaults, absl::StrCat("--fault=", fault), Model()});
    EXPECT_EQ(process.Wait(), 78) << fault << process.error();
    EXPECT_NE(process.error().find("fault"), std::string::npos) << process.error();
  }
}

TEST(StallTest, TheReleasedWorkerKnowsNoFault) {
  Process process({kWorker, "--fault=stuck_engine:20", Model()});
  EXPECT_EQ(process.Wait(), 78) << process.error();
  EXPECT_EQ(process.error(), "thinkwire-worker: unknown option --fault (see --help)\n");
}

}  // namespace
}  // namespace thinkwire::integration

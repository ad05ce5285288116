// A router whose workers are found by a name, while they come and go.

#include <grpcpp/client_context.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/integration/process.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"
#include "tests/sanitized.h"
#include "thinkwire/v1/reasoning.grpc.pb.h"

namespace thinkwire::integration {
namespace {

// Its workers are at one port of several addresses of this machine.
class DiscoveryTest : public testing::Test {
 protected:
  DiscoveryTest() : names_(absl::StrCat(testing::TempDir(), "names-", getpid())) {
    // A sanitizer's runtime must be loaded first.
    if (kSanitized) return;
    Mean("127.0.0.1");
    setenv("THINKWIRE_NAMES_FILE", names_.c_str(), 1);
    setenv("LD_PRELOAD", THINKWIRE_NAMES, 1);
    router_.emplace("tiny-r1", absl::StrCat("workers.test:", first_.port()));
    unsetenv("LD_PRELOAD");
    unsetenv("THINKWIRE_NAMES_FILE");
  }
  ~DiscoveryTest() override { std::filesystem::remove(names_); }

  // What the name means from now on.
  void Mean(const std::string& addresses) {
    const std::string other = names_ + ".new";
    std::ofstream(other) << "workers.test " << addresses << "\n";
    std::filesystem::rename(other, names_);
  }
  bool WaitForWorkers(double number) {
    const auto give_up = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < give_up) {
      const char* const labels = "{variant=\"tiny-r1\"}";
      if (router_->Metric("thinkwire_router_live_workers", labels) == number &&
          router_->Metric("thinkwire_router_configured_workers", labels) == number) {
        return true;
      }
      std::this_thread::yield();
    }
    return false;
  }
  // By which worker a short question is answered.
  std::string Ask() {
    v1::GenerateRequest request = AskGreedily("What is 27+48?");
    request.set_max_tokens(4);
    grpc::ClientContext context;
    const auto reader = router_->stub().Generate(&context, request);
    v1::GenerateResponse event;
    std::string worker;
    while (reader->Read(&event)) {
      if (event.has_started()) worker = event.started().worker();
    }
    const grpc::Status status = reader->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    return worker;
  }
  std::string At(const char* host) const { return absl::StrCat(host, ":", first_.port()); }

  const std::string names_;
  WorkerProcess first_{{absl::StrCat("--model=", kTinyModel)}};
  WorkerProcess second_{
      {absl::StrCat("--model=", kTinyModel), absl::StrCat("--listen=127.0.0.2:", first_.port())}};
  std::optional<RouterProcess> router_;
};

TEST_F(DiscoveryTest, WorkersComeAndGoWithWhatTheirNameMeans) {
  if (kSanitized) GTEST_SKIP() << "needs a library that is loaded before the sanitizer's";
  ASSERT_TRUE(WaitForWorkers(1));
  EXPECT_EQ(Ask(), At("127.0.0.1"));
  Mean("127.0.0.1 127.0.0.2");
  ASSERT_TRUE(WaitForWorkers(2));
  std::set<std::string> asked;
  for (int i = 0; i < 8; ++i) asked.insert(Ask());
  EXPECT_EQ(asked, (std::set<std::string>{At("127.0.0.1"), At("127.0.0.2")}));
  Mean("127.0.0.2");
  ASSERT_TRUE(WaitForWorkers(1));
  for (int i = 0; i < 4; ++i) EXPECT_EQ(Ask(), At("127.0.0.2"));
}

TEST_F(DiscoveryTest, AStreamOfAWorkerThatItsNameDoesNotMeanAnyMoreFinishes) {
  if (kSanitized) GTEST_SKIP() << "needs a library that is loaded before the sanitizer's";
  ASSERT_TRUE(WaitForWorkers(1));
  v1::GenerateRequest request = integration::Ask("What is 27+48?", 1);
  request.set_ignore_eos(true);
  request.set_max_tokens(200);
  grpc::ClientContext context;
  const auto reader = router_->stub().Generate(&context, request);
  v1::GenerateResponse event;
  while (reader->Read(&event) && !event.has_reasoning_delta()) {
  }
  Mean("127.0.0.2");
  // Nothing is read until the worker is gone; what does not fit into the stream waits.
  ASSERT_TRUE(router_->process().WaitForErrorLine("\"a worker is not found any more\""));
  while (reader->Read(&event)) {
  }
  const grpc::Status status = reader->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(event.has_completed());
  ASSERT_TRUE(WaitForWorkers(1));
  EXPECT_EQ(Ask(), At("127.0.0.2"));
}

}  // namespace
}  // namespace thinkwire::integration

// A router whose workers are found by a name, while they come and go.

#include <grpcpp/client_context.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/integration/process.h"
#include "tests/integration/programs.h"
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
    setenv("LD_PRELOAD", kNamesPreload, 1);
    router_.emplace("tiny-r1", absl::StrCat("workers.test:", port_));
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
  // By which worker a question is answered, with so many tokens.
  std::string Ask(int tokens) {
    v1::GenerateRequest request = AskGreedily("What is 27+48?");
    request.set_ignore_eos(true);
    request.set_max_tokens(tokens);
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
  std::string At(const char* host) const { return absl::StrCat(host, ":", port_); }

  const std::string names_;
  // Below those that the kernel gives connections, which may have it at one address and not at the
  // other.
  const int port_ = 20'000 + getpid() % 10'000;
  WorkerProcess first_{
      {absl::StrCat("--model=", kTinyModel), absl::StrCat("--listen=127.0.0.1:", port_)}};
  WorkerProcess second_{
      {absl::StrCat("--model=", kTinyModel), absl::StrCat("--listen=127.0.0.2:", port_)}};
  std::optional<RouterProcess> router_;
};

TEST_F(DiscoveryTest, WorkersComeAndGoUnderLoadAndNoStreamNotices) {
  if (kSanitized) GTEST_SKIP() << "needs a library that is loaded before the sanitizer's";
  ASSERT_TRUE(WaitForWorkers(1));
  EXPECT_EQ(Ask(4), At("127.0.0.1"));
  std::atomic<bool> stopping = false;
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      while (!stopping) Ask(50);
    });
  }
  Mean("127.0.0.1 127.0.0.2");
  EXPECT_TRUE(WaitForWorkers(2));
  Mean("127.0.0.2");
  EXPECT_TRUE(WaitForWorkers(1));
  for (int i = 0; i < 4; ++i) EXPECT_EQ(Ask(4), At("127.0.0.2"));
  stopping = true;
  for (std::thread& client : clients) client.join();
  EXPECT_TRUE(router_->WaitUntilIdle());
}

}  // namespace
}  // namespace thinkwire::integration

// A router whose configuration changes while it serves.

#include <grpcpp/client_context.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/integration/process.h"
#include "tests/integration/programs.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"
#include "thinkwire/v1/reasoning.grpc.pb.h"

namespace thinkwire::integration {
namespace {

constexpr char kVariant[] = "{variant=\"tiny-r1\"}";
constexpr char kOther[] = "{variant=\"other\"}";

class ReloadTest : public testing::Test {
 protected:
  static std::string Variant(const std::string& name, const WorkerProcess& worker) {
    return absl::StrCat("  - name: ", name, "\n    workers: [\"", AddressOf(worker), "\"]\n");
  }
  static std::string AddressOf(const WorkerProcess& worker) {
    return absl::StrCat("127.0.0.1:", worker.port());
  }
  void Configure(const std::string& variants) { router_.Configure("variants:\n" + variants); }
  void Reload() { router_.process().Signal(SIGHUP); }

  bool WaitUntil(const std::function<bool()>& holds) const {
    const auto give_up = std::chrono::steady_clock::now() + kPatience;
    while (!holds()) {
      if (std::chrono::steady_clock::now() >= give_up) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
  }
  bool WaitForReloads(double number) const {
    return WaitUntil(
        [&] { return router_.Metric("thinkwire_router_config_reloads_total") >= number; });
  }

  // Asks for so many tokens of the variant; `started` is told by whom.
  grpc::Status Ask(const std::string& variant, int tokens, std::string* worker = nullptr) {
    v1::GenerateRequest request = AskGreedily("What is 27+48?");
    request.set_variant(variant);
    request.set_ignore_eos(true);
    request.set_max_tokens(tokens);
    grpc::ClientContext context;
    const auto reader = router_.stub().Generate(&context, request);
    v1::GenerateResponse event;
    int brought = 0;
    while (reader->Read(&event)) {
      if (event.has_started() && worker != nullptr) *worker = event.started().worker();
      if (event.has_completed())
        brought = event.completed().usage().reasoning_tokens() +
                  event.completed().usage().answer_tokens();
    }
    const grpc::Status status = reader->Finish();
    EXPECT_TRUE(!status.ok() || brought == tokens) << brought;
    return status;
  }

  WorkerProcess first_{{absl::StrCat("--model=", kTinyModel)}};
  WorkerProcess second_{{absl::StrCat("--model=", kTinyModel)}};
  RouterProcess router_{"tiny-r1", AddressOf(first_)};
};

TEST_F(ReloadTest, WorkersAreReplacedUnderLoadAndNoStreamNotices) {
  std::atomic<bool> stopping = false;
  std::atomic<int> failed = 0;
  std::atomic<int> answered = 0;
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      while (!stopping) {
        const grpc::Status status = Ask("tiny-r1", 50);
        if (!status.ok()) ++failed;
        EXPECT_TRUE(status.ok()) << status.error_message();
        ++answered;
      }
    });
  }
  double reloads = 0;
  for (const WorkerProcess* worker : {&second_, &first_, &second_}) {
    const int before = answered;
    EXPECT_TRUE(WaitUntil([&] { return answered > before + 4; }));
    Configure(Variant("tiny-r1", *worker));
    if (worker == &first_) Reload();  // the others are noticed
    EXPECT_TRUE(WaitForReloads(++reloads));
    std::string by;
    EXPECT_TRUE(Ask("tiny-r1", 4, &by).ok());
    EXPECT_EQ(by, AddressOf(*worker));
    reloads = *router_.Metric("thinkwire_router_config_reloads_total");
  }
  stopping = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(failed, 0);
  EXPECT_TRUE(router_.WaitUntilIdle());
  EXPECT_EQ(router_.Metric("thinkwire_router_configured_workers", kVariant), 1.0);
}

TEST_F(ReloadTest, AVariantThatIsRenamedIsNotFoundByItsEarlierName) {
  const WorkerProcess renamed({absl::StrCat("--model=", kTinyModel), "--served_model_name=other"});
  Configure(Variant("other", renamed));
  ASSERT_TRUE(WaitForReloads(1));
  EXPECT_TRUE(WaitUntil([&] { return Ask("other", 4).ok(); }));
  EXPECT_EQ(Ask("tiny-r1", 4).error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_FALSE(router_.Metric("thinkwire_router_live_workers", kVariant));
  EXPECT_TRUE(router_.Metric("thinkwire_router_live_workers", kOther));
  for (const auto& [name, exit] : {std::pair("/variant/tiny-r1", 1), std::pair("/liveness", 0)}) {
    Process probe({kChat, absl::StrCat("--probe=127.0.0.1:", router_.port(), name)});
    EXPECT_EQ(probe.Wait(), exit) << name;
  }
}

TEST_F(ReloadTest, ABadFileIsSaidAndChangesNothing) {
  Configure("  - name: tiny-r1\n    workers: [\"here\"]\n");
  Reload();
  EXPECT_TRUE(router_.process().WaitForErrorLine("\"configuration not reloaded"));
  EXPECT_TRUE(router_.process().WaitForErrorLine("worker 'here' is not host:port"));
  EXPECT_EQ(router_.Metric("thinkwire_router_config_last_reload_successful"), 0.0);
  EXPECT_TRUE(Ask("tiny-r1", 4).ok());
  Configure(Variant("tiny-r1", second_));
  ASSERT_TRUE(WaitForReloads(1));
  EXPECT_EQ(router_.Metric("thinkwire_router_config_last_reload_successful"), 1.0);
  EXPECT_TRUE(Ask("tiny-r1", 4).ok());
}

TEST_F(ReloadTest, AReloadThatWaitsForWorkersHoldsNoStopUp) {
  Configure("  - name: tiny-r1\n    workers: [\"127.0.0.1:1\"]\n");  // where nobody listens
  const auto begin = std::chrono::steady_clock::now();
  Reload();
  router_.process().Signal(SIGTERM);
  EXPECT_EQ(router_.process().Wait(), 0);
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_LT(took, std::chrono::seconds(4)) << "the worker that goes has 5 s for its successor";
}

}  // namespace
}  // namespace thinkwire::integration

// What orchestrators ask, and thinkwire-chat --probe for them.

#include <gtest/gtest.h>
#include <signal.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "tests/integration/process.h"
#include "tests/integration/programs.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"

namespace thinkwire::integration {
namespace {

// The exit code of a probe, or -1.
int Probe(int port, const std::string& name) {
  Process probe({kChat, absl::StrCat("--probe=127.0.0.1:", port, name)});
  return probe.Wait();
}

TEST(HealthTest, ARouterWithoutAWorkerIsAliveAndNotReady) {
  RouterProcess router("tiny-r1", "127.0.0.1:1");
  EXPECT_EQ(Probe(router.port(), "/liveness"), 0);
  for (const char* name : {"", "/readiness", "/variant/tiny-r1", "/variant/other"}) {
    EXPECT_EQ(Probe(router.port(), name), 1) << name;
  }
}

TEST(HealthTest, ARouterAndItsWorkerAreReady) {
  WorkerProcess worker({absl::StrCat("--model=", kTinyModel)});
  ASSERT_TRUE(worker.listening());
  RouterProcess router("tiny-r1", absl::StrCat("127.0.0.1:", worker.port()));
  for (const int port : {worker.port(), router.port()}) {
    for (const char* name : {"", "/liveness", "/readiness", "/variant/tiny-r1"}) {
      EXPECT_EQ(Probe(port, name), 0) << port << name;
    }
  }
  worker.process().Signal(SIGTERM);
  EXPECT_EQ(worker.process().Wait(), 0);
  while (Probe(router.port(), "/variant/tiny-r1") == 0) {
  }
  EXPECT_EQ(Probe(router.port(), "/readiness"), 1);
  EXPECT_EQ(Probe(router.port(), "/liveness"), 0);
}

}  // namespace
}  // namespace thinkwire::integration

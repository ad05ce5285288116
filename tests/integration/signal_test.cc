// What the machine may do to router and worker without ending them: signals that mean nothing to
// them yet, and standard streams that nobody has opened.

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/integration/process.h"
#include "tests/integration/programs.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"

namespace thinkwire::integration {
namespace {

const std::string kModel = absl::StrCat("--model=", kTinyModel);

// `on_hangup`: what SIGHUP has it write.
void ExpectToSurviveAndStop(Process& process, const char* on_hangup) {
  for (const auto& [signal, name] :
       {std::pair(SIGHUP, on_hangup), std::pair(SIGUSR1, "\"signal\":\"SIGUSR1\""),
        std::pair(SIGUSR2, "\"signal\":\"SIGUSR2\"")}) {
    process.Signal(signal);
    EXPECT_TRUE(process.WaitForErrorLine(name)) << process.error();
  }
  process.Signal(SIGTERM);
  EXPECT_EQ(process.Wait(), 0) << process.error();
}

TEST(SignalTest, RouterAndWorkerLogSignalsThatMeanNothingToThem) {
  WorkerProcess worker({kModel});
  ASSERT_TRUE(worker.listening());
  RouterProcess router("tiny-r1", absl::StrCat("127.0.0.1:", worker.port()));
  ExpectToSurviveAndStop(router.process(), "\"configuration reloaded\"");
  ExpectToSurviveAndStop(worker.process(), "\"signal\":\"SIGHUP\"");
}

TEST(SignalTest, AClosedStandardStreamIsNobodysSocket) {
  // Its number is all that is known of a process that says nothing.
  Process process({"/bin/bash", "-c",
                   absl::StrCat("echo pid $$ >&2; exec ", kWorker, " ", kModel,
                                " --listen=127.0.0.1:0 --metrics_listen= <&- >&- 2>&-")});
  const auto line = process.WaitForErrorLine("pid ");
  ASSERT_TRUE(line);
  const std::string files = absl::StrCat("/proc/", line->substr(4), "/fd/");
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  for (const char* stream : {"0", "1", "2"}) {
    std::error_code error;
    const auto target = [&] { return std::filesystem::read_symlink(files + stream, error); };
    while (target() != "/dev/null" && std::chrono::steady_clock::now() < give_up) {
      std::this_thread::yield();
    }
    EXPECT_EQ(target(), "/dev/null") << stream;
  }
}

}  // namespace
}  // namespace thinkwire::integration

// Where router and worker listen without being told that everybody there is trusted.

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/integration/process.h"
#include "tests/integration/programs.h"
#include "tests/integration/worker_process.h"

namespace thinkwire::integration {
namespace {

constexpr char kEverywhere[] = "--listen=0.0.0.0:0";
constexpr char kHere[] = "--listen=127.0.0.1:0";
constexpr char kHttpEverywhere[] = "--http_listen=0.0.0.0:0";

class ListenTest : public testing::Test {
 protected:
  ListenTest() { std::ofstream(path_) << "variants: [{name: a, workers: ['127.0.0.1:1']}]\n"; }
  ~ListenTest() override { std::filesystem::remove(path_); }

  const std::string path_ = absl::StrCat(testing::TempDir(), "listen-", getpid(), ".yaml");
  // Each with what it needs beside the ports.
  const std::vector<std::string> router_ = {kRouter, "--config", path_};
  const std::vector<std::string> worker_ = {kWorker, "--model", kTinyModel};
};

std::vector<std::string> With(std::vector<std::string> program,
                              const std::vector<std::string>& options) {
  program.insert(program.end(), options.begin(), options.end());
  return program;
}

TEST_F(ListenTest, OtherMachinesReachNothingUnlessThatIsSaid) {
  for (const auto& program : {router_, worker_}) {
    for (const char* more : {"--metrics_listen=", "--check_config"}) {
      Process process(With(program, {kEverywhere, more}));
      EXPECT_EQ(process.Wait(), 78);
      const std::string error = process.error();
      EXPECT_EQ(std::ranges::count(error, '\n'), 1) << error;
      EXPECT_TRUE(absl::StrContains(error, "--insecure_listen")) << error;
    }
  }
}

// The door beside a gRPC server that only this machine reaches.
TEST_F(ListenTest, NorDoTheyReachTheHttpDoor) {
  for (const char* more : {"--check_config", "--metrics_listen="}) {
    Process process(With(router_, {kHere, kHttpEverywhere, more}));
    ASSERT_EQ(process.Wait(), 78);
    const std::string error = process.error();
    EXPECT_EQ(std::ranges::count(error, '\n'), 1) << error;
    EXPECT_TRUE(absl::StrContains(error, "--http_listen")) << error;
    EXPECT_TRUE(absl::StrContains(error, "--insecure_listen")) << error;
  }
  for (const auto& options : std::vector<std::vector<std::string>>{
           {kHttpEverywhere, "--insecure_listen"}, {"--http_listen=127.0.0.1:0"}}) {
    Process process(With(With(router_, {kHere, "--metrics_listen="}), options));
    EXPECT_TRUE(process.WaitForErrorLine("\"listening\"")) << process.error();
    EXPECT_FALSE(absl::StrContains(process.error(), "\"http_port\":0")) << "there is a door";
    process.Signal(SIGTERM);
    EXPECT_EQ(process.Wait(), 0) << process.error();
  }
}

TEST_F(ListenTest, TheyDoOnceItIsAndSeeMetricsInAnyCase) {
  for (const auto& program : {router_, worker_}) {
    for (const auto& options : std::vector<std::vector<std::string>>{
             {kEverywhere, "--insecure_listen", "--metrics_listen="},
             {"--listen=127.0.0.1:0", "--metrics_listen=0.0.0.0:0"}}) {
      Process process(With(program, options));
      EXPECT_TRUE(process.WaitForErrorLine("\"listening\"")) << process.error();
      process.Signal(SIGTERM);
      EXPECT_EQ(process.Wait(), 0) << process.error();
    }
  }
}

TEST_F(ListenTest, ALimitOfOpenFilesThatLeavesNoneForConnectionsIsNamed) {
  for (const auto& program : {router_, worker_}) {
    const std::string script = absl::StrCat("ulimit -n 100; exec ", absl::StrJoin(program, " "));
    Process process({"/bin/bash", "-c", script});
    EXPECT_EQ(process.Wait(), 78);
    const std::string error = process.error();
    EXPECT_EQ(std::ranges::count(error, '\n'), 1) << error;
    EXPECT_TRUE(absl::StrContains(error, "ulimit -n allows 100 open files")) << error;
    EXPECT_TRUE(absl::StrContains(error, "--max_connections")) << error;
  }
}

}  // namespace
}  // namespace thinkwire::integration

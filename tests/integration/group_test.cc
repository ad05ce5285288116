// Ranks of one model in several processes: what they give, how they begin and how they end.

#include "tests/integration/group.h"

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "tests/fakes/free_port.h"
#include "tests/integration/process.h"
#include "tests/integration/programs.h"
#include "tests/integration/worker_process.h"

namespace thinkwire::integration {
namespace {

using grpc::health::v1::HealthCheckResponse;
using Options = std::vector<std::string>;

constexpr int kExitConfig = 78;

Options With(Options options, const std::string& more) {
  options.push_back(more);
  return options;
}

// The options, whose last is the token's file, with another one.
Options WithToken(Options options, const std::string& file) {
  options.back() = absl::StrCat("--group_token_file=", file);
  return options;
}

// What the process says of itself once it follows.
nlohmann::json Following(Process& follower) {
  const auto line = follower.WaitForErrorLine("\"message\":\"following\"");
  EXPECT_TRUE(line) << follower.error();
  return line ? nlohmann::json::parse(*line) : nlohmann::json::object();
}

HealthCheckResponse::ServingStatus HealthAt(int port) {
  const auto stub = grpc::health::v1::Health::NewStub(
      grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  HealthCheckResponse response;
  const grpc::Status status = stub->Check(&context, {}, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response.status();
}

// The last line that the process wrote, without its line feed.
std::string LastLine(const Process& process) {
  const std::string text = process.error();
  if (text.size() < 2) return text;
  const std::size_t begin = text.rfind('\n', text.size() - 2);
  return text.substr(begin == std::string::npos ? 0 : begin + 1,
                     text.size() - 1 - (begin == std::string::npos ? 0 : begin + 1));
}

TEST(GroupTest, TwoProcessesGiveTheIdsOfOne) {
  const FreePort port;
  const auto follower = StartRanks(GroupOptions("1", port.address()));
  WorkerProcess leader(GroupOptions("0", port.address()));
  ASSERT_TRUE(leader.listening());
  WorkerProcess alone({absl::StrCat("--model=", kTinyModel), "--tensor_parallel_size=2"});
  ASSERT_TRUE(alone.listening());
  for (const v1::GenerateRequest& request :
       {Ask("What is 27+48?", 7), AskGreedily("What is 12*12?")}) {
    const Generation there = leader.Generate(request);
    const Generation here = alone.Generate(request);
    ASSERT_TRUE(there.status.ok()) << there.status;
    EXPECT_EQ(there.ids, here.ids);
    EXPECT_EQ(there.started.fingerprint(), here.started.fingerprint());
  }
  for (const char* rank : {"{rank=\"0\"}", "{rank=\"1\"}"}) {
    EXPECT_TRUE(leader.WaitForCounter(absl::StrCat("thinkwire_worker_rank_step", rank), 1)) << rank;
    EXPECT_TRUE(leader.Metric("thinkwire_worker_rank_without_progress_seconds", rank)) << rank;
  }
  const nlohmann::json record = Following(*follower);
  EXPECT_EQ(HealthAt(record["port"]), HealthCheckResponse::SERVING);
  EXPECT_EQ(MetricAt(record["metrics_port"], "process_open_fds").has_value(), true);

  leader.process().Signal(SIGTERM);
  EXPECT_EQ(leader.process().Wait(), 0) << leader.process().error();
  EXPECT_EQ(follower->Wait(), 0) << follower->error();
}

TEST(GroupTest, ThreeProcessesOfFourRanksGiveTheIdsOfOne) {
  const FreePort port;
  const auto last = StartRanks(GroupOptions("3", port.address(), 4));
  const auto middle = StartRanks(GroupOptions("1-2", port.address(), 4));
  WorkerProcess leader(GroupOptions("0", port.address(), 4));
  ASSERT_TRUE(leader.listening());
  WorkerProcess alone({absl::StrCat("--model=", kTinyModel), "--tensor_parallel_size=4"});
  ASSERT_TRUE(alone.listening());
  const v1::GenerateRequest request = Ask("What is 27+48?", 11);
  EXPECT_EQ(leader.Generate(request).ids, alone.Generate(request).ids);
}

TEST(GroupTest, AFollowerThatIsToldToStopWaitsForItsLeader) {
  const FreePort port;
  const auto follower = StartRanks(GroupOptions("1", port.address()));
  WorkerProcess leader(GroupOptions("0", port.address()));
  ASSERT_TRUE(leader.listening());
  Following(*follower);
  v1::GenerateRequest request = Ask("What is 27+48?", 7);
  request.set_ignore_eos(true);
  request.set_max_tokens(300);
  int events = 0;
  const Generation all = leader.Generate(request, std::nullopt, [&](const auto&) {
    if (++events == 10) {
      follower->Signal(SIGTERM);
      leader.process().Signal(SIGTERM);
    }
    return true;
  });
  EXPECT_TRUE(all.status.ok()) << all.status;
  EXPECT_EQ(all.ids.size(), 300U);
  EXPECT_EQ(leader.process().Wait(), 0) << leader.process().error();
  EXPECT_EQ(follower->Wait(), 0) << follower->error();
}

TEST(GroupTest, TheLeastMemoryOfTheGroupIsEverybodys) {
  const FreePort port;
  const auto follower =
      StartRanks(With(GroupOptions("1", port.address()), "--kv_cache_memory_bytes=4000000"));
  WorkerProcess leader(GroupOptions("0", port.address()));
  ASSERT_TRUE(leader.listening());
  const int blocks = Following(*follower)["kv_blocks"];
  EXPECT_EQ(leader.Metric("thinkwire_worker_kv_blocks", "{state=\"free\"}"), blocks);
}

// A leader and a follower that do not fit: both end, each with one sentence, which `why` is of.
void ExpectNoStart(const Options& follower_options, const std::string& why) {
  const FreePort port;
  Options leader_options = GroupOptions("0", port.address());
  leader_options.insert(leader_options.begin(),
                        {kWorker, "--listen=127.0.0.1:0", "--metrics_listen=127.0.0.1:0"});
  Process leader(leader_options);
  const auto begun = std::chrono::steady_clock::now();
  Options options = GroupOptions("1", port.address());
  options.insert(options.end(), follower_options.begin(), follower_options.end());
  const auto follower = StartRanks(options);
  EXPECT_EQ(leader.Wait(), kExitConfig) << leader.error();
  EXPECT_EQ(follower->Wait(), kExitConfig) << follower->error();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(10));
  EXPECT_NE(LastLine(leader).find(why), std::string::npos) << leader.error();
  EXPECT_NE(LastLine(*follower).find(why), std::string::npos) << follower->error();
}

TEST(GroupTest, WhatDiffersKeepsTheGroupFromStarting) {
  ExpectNoStart({"--random_weights"}, "its fingerprint is ");
  ExpectNoStart({"--max_num_seqs=3"}, "its set of limits is max_num_seqs 3, ");
}

TEST(GroupTest, WrongOptionsEndInOneLine) {
  const std::string leader = "127.0.0.1:1";
  const std::vector<std::pair<Options, std::string>> wrong = {
      {GroupOptions("2", leader), "--ranks: '2' is not A-B or A of the ranks 0 to 1"},
      {GroupOptions("0-1", leader), "are all of --tensor_parallel_size: leave --ranks out"},
      {GroupOptions("1", "nowhere"), "--leader: 'nowhere' is not host:port"},
      {GroupOptions("1", "127.0.0.1:0"), "names no host and port to find"},
      {WithToken(GroupOptions("1", leader), ""), "needs --group_token_file"},
      {WithToken(GroupOptions("1", leader), "/none"), "/none"},
      {With(GroupOptions("1", leader), "--check_config"), "--check_config and --ranks"},
      {{"--leader=127.0.0.1:1", absl::StrCat("--model=", kTinyModel)},
       "--leader is only for --ranks"},
  };
  for (const auto& [options, why] : wrong) {
    const auto process = StartRanks(options);
    EXPECT_EQ(process->Wait(), kExitConfig) << why;
    EXPECT_NE(LastLine(*process).find(why), std::string::npos) << process->error();
  }
}

}  // namespace
}  // namespace thinkwire::integration

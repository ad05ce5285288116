// The ranks of one model in processes that meet over this machine's loopback: a thread stands for
// each process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/fakes/free_port.h"
#include "tests/worker/model/local_plans.h"
#include "tests/worker/model/model_files.h"
#include "tests/worker/model/step_driver.h"
#include "tests/worker/parallel/socket_pair.h"
#include "worker/model/beat_encoding.h"
#include "worker/model/followers.h"
#include "worker/model/load_model.h"
#include "worker/parallel/frame.h"
#include "worker/parallel/gather.h"
#include "worker/parallel/local_step_channel.h"
#include "worker/parallel/peer_link.h"

namespace thinkwire::worker::model {
namespace {

using testing::HasSubstr;

constexpr std::chrono::milliseconds kLong{60'000};

ModelOptions Options(int ranks) {
  ModelOptions options;
  options.model_dir = ModelDir("qwen2");
  options.device = "cpu";
  options.cpu_threads = 1;
  options.tensor_parallel_size = ranks;
  options.max_model_len = 128;
  options.max_num_seqs = 3;
  options.max_num_batched_tokens = 64;
  return options;
}

ModelOptions Part(ModelOptions options, const FreePort& port, int first, int count) {
  options.group = parallel::GroupPlace{.first_rank = first,
                                       .num_ranks = count,
                                       .leader = port.address(),
                                       .key = parallel::GroupKey("sixteen bytes or more"),
                                       .version = "1"};
  return options;
}

absl::StatusOr<std::unique_ptr<ModelRunner>> Lead(const ModelOptions& options) {
  return LoadModel(options, std::make_unique<parallel::LocalStepChannel<step::Plan>>(
                                options.group->num_ranks, options.max_in_flight));
}

std::future<absl::StatusOr<std::unique_ptr<Follower>>> FollowWith(const ModelOptions& options) {
  return std::async(std::launch::async, [options] {
    return LoadFollower(options, std::make_unique<parallel::LocalStepChannel<step::Plan>>(
                                     options.group->num_ranks, options.max_in_flight + 1));
  });
}

std::vector<Drawn> Generate(step::Runner& runner) {
  StepDriver driver(runner);
  step::SamplingParams params;
  for (step::PhaseSampling& phase : params.phases) phase.temperature = 1.0F;
  params.seed = 7;
  driver.Begin(1, params, {{5, 2.0F}});
  return driver.Generate(1, {3, 1, 4, 1, 5, 9, 2, 6}, 20, 3, runner.limits().max_in_flight);
}

// A group of two processes, of which the leader has the first `own` ranks, against one process.
void ExpectTheBitsOfOne(int ranks, int own) {
  const FreePort port;
  auto following = FollowWith(Part(Options(ranks), port, own, ranks - own));
  auto leader = Lead(Part(Options(ranks), port, 0, own));
  const auto follower = following.get();
  ASSERT_TRUE(leader.ok() && follower.ok()) << leader.status() << follower.status();
  const auto alone = LoadModel(Options(ranks), LocalPlans(Options(ranks)));
  ASSERT_TRUE(alone.ok()) << alone.status();
  EXPECT_EQ(Generate(**leader), Generate(**alone));
  EXPECT_EQ((*leader)->info().fingerprint, (*alone)->info().fingerprint);
  EXPECT_EQ((*follower)->fingerprint(), (*alone)->info().fingerprint);
  EXPECT_EQ((*leader)->info().weight_bytes, (*alone)->info().weight_bytes);
  EXPECT_EQ((*leader)->beats().size(), static_cast<std::size_t>(ranks));
  EXPECT_EQ((*follower)->beats().size(), static_cast<std::size_t>(ranks - own));
  leader->reset();
  (*follower)->AwaitEnd();
}

TEST(GroupTest, TwoProcessesGiveTheBitsOfOne) {
  ExpectTheBitsOfOne(2, 1);
  ExpectTheBitsOfOne(4, 2);
  ExpectTheBitsOfOne(4, 1);
}

TEST(GroupTest, TheLeastBlocksAreEverybodys) {
  const FreePort port;
  ModelOptions small = Part(Options(2), port, 1, 1);
  small.kv_cache_memory_bytes = 40'000;
  auto following = FollowWith(small);
  auto leader = Lead(Part(Options(2), port, 0, 1));
  const auto follower = following.get();
  ASSERT_TRUE(leader.ok() && follower.ok()) << leader.status() << follower.status();
  const auto alone = LoadModel(Options(2), LocalPlans(Options(2)));
  ASSERT_TRUE(alone.ok()) << alone.status();
  EXPECT_LT((*leader)->limits().num_blocks, (*alone)->limits().num_blocks);
  EXPECT_EQ((*leader)->limits().num_blocks, (*follower)->limits().num_blocks);
  leader->reset();
  (*follower)->AwaitEnd();
}

TEST(GroupTest, WhatTheLeaderHearsOfARankIsWhereItIs) {
  const FreePort port;
  auto following = FollowWith(Part(Options(2), port, 1, 1));
  auto leader = Lead(Part(Options(2), port, 0, 1));
  const auto follower = following.get();
  ASSERT_TRUE(leader.ok() && follower.ok()) << leader.status() << follower.status();
  Generate(**leader);
  const auto begun = std::chrono::steady_clock::now();
  while ((*leader)->beats()[1] != (*leader)->beats()[0]) {
    if (std::chrono::steady_clock::now() - begun > std::chrono::seconds(60)) break;
    std::this_thread::yield();
  }
  EXPECT_EQ((*leader)->beats()[1], (*leader)->beats()[0]);
  EXPECT_GT((*leader)->beats()[1].step, 0U);
  leader->reset();
  (*follower)->AwaitEnd();
}

TEST(GroupTest, OtherLimitsAreToldToBoth) {
  const FreePort port;
  ModelOptions other = Part(Options(2), port, 1, 1);
  other.max_num_seqs = 4;
  auto following = FollowWith(other);
  const absl::Status leader = Lead(Part(Options(2), port, 0, 1)).status();
  const absl::Status follower = following.get().status();
  EXPECT_EQ(leader.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(leader.message()), HasSubstr("its set of limits is max_num_seqs 4, "));
  EXPECT_THAT(std::string(follower.message()), HasSubstr("its set of limits is max_num_seqs 4, "));
}

// A leader of one other process, which says `frames` and no more, until that ends this process.
void HearFollower(const std::string& frames) {
  const auto [left, right] = parallel::SocketPair();
  EXPECT_EQ(write(left, frames.data(), frames.size()), static_cast<ssize_t>(frames.size()));
  std::vector<parallel::Member> members(1);
  members[0] = {1, 1, std::make_unique<parallel::PeerLink>(right, "rank 1", kLong)};
  Followers followers(LocalPlans(Options(2)), std::move(members));
  followers.AgreeOnBlocks(100);
  followers.AwaitReady();
}

std::string FrameOf(parallel::FrameKind kind, const std::string& payload) {
  const auto head = parallel::EncodeFrameHead(kind, 0, payload);
  return std::string(head.data(), head.size()) + payload;
}

TEST(FollowersDeathTest, AFollowerWithoutABlockEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(HearFollower(FrameOf(parallel::FrameKind::kBlocks, EncodeNumber(0))),
              testing::ExitedWithCode(70), "rank 1: sent what no follower has to say\n$");
}

}  // namespace
}  // namespace thinkwire::worker::model

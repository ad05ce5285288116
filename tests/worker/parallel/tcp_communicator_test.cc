#include "worker/parallel/tcp_communicator.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/worker/parallel/socket_pair.h"
#include "worker/parallel/local_communicator.h"

namespace thinkwire::worker::parallel {
namespace {

using kernels::DType;
using kernels::MakeTensor;
using Ranks = std::vector<std::unique_ptr<Communicator>>;

constexpr std::chrono::milliseconds kPatience(60'000);

// A group over sockets, all of whose ranks are of this process.
Ranks OverSockets(int size) {
  TcpCommunicator::Links to_others;
  Ranks others;
  for (int rank = 1; rank < size; ++rank) {
    const auto [left, right] = TcpPair();
    to_others.push_back(std::make_unique<PeerLink>(left, absl::StrCat("rank ", rank), kPatience));
    TcpCommunicator::Links to_first;
    to_first.push_back(std::make_unique<PeerLink>(right, "rank 0", kPatience));
    others.push_back(std::make_unique<TcpCommunicator>(rank, size, std::move(to_first)));
  }
  Ranks ranks;
  ranks.push_back(std::make_unique<TcpCommunicator>(0, size, std::move(to_others)));
  for (auto& other : others) ranks.push_back(std::move(other));
  return ranks;
}

Ranks InMemory(int size) {
  auto ranks = OpenLocalCommunicators(std::make_shared<LocalGroup>(size), 0, size, size);
  EXPECT_TRUE(ranks.ok()) << ranks.status();
  return *std::move(ranks);
}

// What each rank has after `body`, in rank order; one thread a rank.
std::vector<std::vector<float>> OnRanks(
    Ranks ranks, const std::function<std::vector<float>(Communicator&)>& body) {
  std::vector<std::vector<float>> results(ranks.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    threads.emplace_back([&, i] { results[i] = body(*ranks[i]); });
  }
  for (std::thread& thread : threads) thread.join();
  return results;
}

// Values whose sum depends on the order in which they are added.
float ValueOf(int rank, std::int64_t i) {
  const float scale[] = {1.0e8F, 3.7F, -1.0e8F, 0.11F, 2.0e7F, -5.0F};
  return scale[rank] + 0.3F * static_cast<float>(i);
}

std::vector<float> Reduced(Communicator& communicator, std::int64_t n) {
  std::vector<float> all;
  for (int round = 0; round < 5; ++round) {
    std::vector<float> x;
    for (std::int64_t i = 0; i < n; ++i) x.push_back(ValueOf(communicator.rank(), i + round));
    communicator.AllReduce(MakeTensor(x.data(), DType::kF32, 1, n));
    all.insert(all.end(), x.begin(), x.end());
  }
  return all;
}

std::vector<float> Gathered(Communicator& communicator, std::int64_t rows, std::int64_t width) {
  std::vector<float> local;
  for (std::int64_t i = 0; i < rows * width; ++i) local.push_back(ValueOf(communicator.rank(), i));
  std::vector<float> out(local.size() * static_cast<std::size_t>(communicator.size()));
  communicator.AllGatherColumns(
      MakeTensor(local.data(), DType::kF32, rows, width),
      MakeTensor(out.data(), DType::kF32, rows, width * communicator.size()));
  return out;
}

TEST(TcpCommunicatorTest, SumsAreTheBitsOfRanksThatShareMemory) {
  for (const int size : {2, 3, 4, 6}) {
    for (const std::int64_t n : {1, 7, 20'000}) {
      const auto body = [n](Communicator& communicator) { return Reduced(communicator, n); };
      EXPECT_EQ(OnRanks(OverSockets(size), body), OnRanks(InMemory(size), body))
          << size << " x " << n;
    }
  }
}

TEST(TcpCommunicatorTest, GathersTheColumnsThatRanksWithSharedMemoryGather) {
  for (const int size : {2, 3, 4}) {
    for (const std::int64_t rows : {1, 5}) {
      const auto body = [rows](Communicator& communicator) {
        return Gathered(communicator, rows, 33);
      };
      EXPECT_EQ(OnRanks(OverSockets(size), body), OnRanks(InMemory(size), body))
          << size << " x " << rows;
    }
  }
}

TEST(TcpCommunicatorTest, KeepsSumsAndColumnsApart) {
  const auto body = [](Communicator& communicator) {
    std::vector<float> all = Reduced(communicator, 9);
    const std::vector<float> columns = Gathered(communicator, 2, 5);
    all.insert(all.end(), columns.begin(), columns.end());
    const std::vector<float> more = Reduced(communicator, 3);
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  EXPECT_EQ(OnRanks(OverSockets(3), body), OnRanks(InMemory(3), body));
}

// Two processes of two ranks each: their connections are sockets, those inside the first too.
Ranks OfTwoProcesses() {
  TcpCommunicator::Links of_first;
  TcpCommunicator::Links of_second;
  for (const int rank : {2, 3}) {
    const auto [left, right] = TcpPair();
    of_first.push_back(std::make_unique<PeerLink>(left, absl::StrCat("rank ", rank), kPatience));
    of_second.push_back(std::make_unique<PeerLink>(right, "rank 0", kPatience));
  }
  auto ranks = OpenTcpCommunicators(0, 2, 4, std::move(of_first));
  auto others = OpenTcpCommunicators(2, 2, 4, std::move(of_second));
  EXPECT_TRUE(ranks.ok() && others.ok()) << ranks.status() << others.status();
  for (auto& other : *others) ranks->push_back(std::move(other));
  return *std::move(ranks);
}

TEST(TcpCommunicatorTest, RanksOfTwoProcessesGiveTheBitsOfOne) {
  const auto body = [](Communicator& communicator) { return Reduced(communicator, 1000); };
  EXPECT_EQ(OnRanks(OfTwoProcesses(), body), OnRanks(InMemory(4), body));
}

TEST(TcpCommunicatorTest, RefusesAnotherNumberOfLinks) {
  EXPECT_TRUE(absl::IsInvalidArgument(OpenTcpCommunicators(0, 2, 4, {}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(OpenTcpCommunicators(2, 2, 4, {}).status()));
}

// A rank of two whose peer's end of the connection is `peer`.
std::unique_ptr<TcpCommunicator> RankOfTwo(int rank, int socket) {
  TcpCommunicator::Links links;
  links.push_back(std::make_unique<PeerLink>(socket, absl::StrCat("rank ", 1 - rank),
                                             std::chrono::milliseconds(50)));
  return std::make_unique<TcpCommunicator>(rank, 2, std::move(links));
}

void ReduceOne(Communicator& communicator) {
  float x = 1.0F;
  communicator.AllReduce(MakeTensor(&x, DType::kF32, 1, 1));
}

TEST(TcpCommunicatorDeathTest, ALostPeerEndsTheProcessInOneSentence) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto [left, right] = SocketPair();
  close(left);
  EXPECT_EXIT(ReduceOne(*RankOfTwo(0, right)), testing::ExitedWithCode(70),
              "^rank 0: its group is broken: rank 1 has closed its connection\n$");
}

TEST(TcpCommunicatorDeathTest, ASilentPeerEndsTheProcessInOneSentence) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto [left, right] = SocketPair();
  EXPECT_EXIT(ReduceOne(*RankOfTwo(1, right)), testing::ExitedWithCode(70),
              "^rank 1: its group is broken: rank 0 has kept a frame waiting for 50 ms\n$");
  close(left);
  close(right);
}

}  // namespace
}  // namespace thinkwire::worker::parallel

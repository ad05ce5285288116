// A group of two processes whose follower is lost in the middle of a stream, and strangers at its
// door: the leader ends in one line, and the router goes on with the stream on a single worker.

#include <grpcpp/client_context.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/stream_contract.h"
#include "tests/fakes/free_port.h"
#include "tests/integration/cut_wire.h"
#include "tests/integration/group.h"
#include "tests/integration/process.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"
#include "thinkwire/v1/reasoning.grpc.pb.h"
#include "worker/parallel/gather.h"
#include "worker/parallel/handshake.h"

namespace thinkwire::integration {
namespace {

namespace parallel = worker::parallel;
using std::chrono::steady_clock;

constexpr int kExitSoftware = 70;
// What a lost follower may cost.
constexpr std::chrono::seconds kMost{10};

struct Stream {
  grpc::Status status;
  std::vector<std::int32_t> ids;
  std::string worker;
  std::vector<v1::Moved> moves;
};

template <class Delta>
void Take(const Delta& delta, Stream& stream) {
  stream.ids.insert(stream.ids.end(), delta.token_ids().begin(), delta.token_ids().end());
}

// Reads a stream to its end, and has `act` done once some ids are there.
Stream Read(RouterProcess& router, const std::function<void()>& act) {
  v1::GenerateRequest request = Ask("What is 27+48?", 7);
  request.set_ignore_eos(true);
  request.set_max_tokens(3000);
  request.set_require_resumable(true);
  grpc::ClientContext context;
  const auto reader = router.stub().Generate(&context, request);
  rpc::StreamContract contract(request);
  Stream stream;
  bool acted = false;
  for (v1::GenerateResponse event; reader->Read(&event);) {
    const absl::Status status = contract.Add(event);
    EXPECT_TRUE(status.ok()) << status << event.ShortDebugString();
    if (event.has_started()) stream.worker = event.started().worker();
    if (event.has_moved()) stream.moves.push_back(event.moved());
    Take(event.reasoning_delta(), stream);
    Take(event.answer_delta(), stream);
    if (acted || stream.ids.size() < 50) continue;
    acted = true;
    act();
  }
  stream.status = reader->Finish();
  return stream;
}

// A group, whose follower is started by `before` with a `fault` in it, and a single worker behind
// one router.
class GroupFaultsTest : public testing::Test {
 protected:
  void Start(const std::vector<std::string>& before, const std::string& leader_host,
             const std::string& fault = "") {
    const FreePort port;
    follower_ =
        StartRanks(GroupOptions("1", absl::StrCat(leader_host, ":", port.number())), before, fault);
    std::vector<std::string> options = GroupOptions("0", absl::StrCat("0.0.0.0:", port.number()));
    if (!fault.empty()) options.emplace_back("--step_timeout_s=6");
    leader_ = std::make_unique<WorkerProcess>(options);
    ASSERT_TRUE(leader_->listening());
    alone_ = std::make_unique<WorkerProcess>(
        std::vector<std::string>{absl::StrCat("--model=", kTinyModel), "--tensor_parallel_size=2"});
    ASSERT_TRUE(alone_->listening());
    // On a machine that others keep busy too, a worker that starves for some seconds is asked for a
    // proof that it lives before a stream goes to it.
    router_ = std::make_unique<RouterProcess>(
        "tiny-r1", std::vector<std::string>{AddressOf(*leader_), AddressOf(*alone_)},
        std::vector<std::string>{absl::StrCat("--resume_wait_s=", kPatience.count())});
  }

  static std::string AddressOf(const WorkerProcess& worker) {
    return absl::StrCat("127.0.0.1:", worker.port());
  }

  // Breaks the group in the middle of a stream. What the leader's last line is to hold is `line`.
  void ExpectEndAndMove(const std::function<void()>& fault, const std::string& line) {
    // Beside the reading, which a router that asks its client for a sign of life wants to go on.
    std::future<steady_clock::duration> ending;
    const Stream stream = Read(*router_, [&] {
      ending = std::async(std::launch::async, [&] {
        const auto broken_at = steady_clock::now();
        fault();
        EXPECT_EQ(leader_->process().Wait(), kExitSoftware) << leader_->process().error();
        return steady_clock::now() - broken_at;
      });
    });
    ASSERT_TRUE(ending.valid()) << stream.status.error_message();
    const auto took = ending.get();
    EXPECT_LT(took, kMost);
    RecordProperty("fault_to_end_ms", std::to_string(took / std::chrono::milliseconds(1)));
    const std::string error = leader_->process().error();
    const std::string last = error.substr(error.rfind('\n', error.size() - 2) + 1);
    EXPECT_NE(last.find(line), std::string::npos) << error;
    EXPECT_EQ(error.find("group is broken"), error.rfind("group is broken")) << error;
    ASSERT_TRUE(stream.status.ok()) << stream.status.error_message() << '\n'
                                    << router_->process().error();
    EXPECT_EQ(stream.worker, AddressOf(*leader_));
    ASSERT_EQ(stream.moves.size(), 1U);
    EXPECT_EQ(stream.moves[0].worker(), AddressOf(*alone_));
    EXPECT_TRUE(stream.moves[0].exact());
    EXPECT_EQ(stream.ids, Read(*router_, [] {}).ids);
  }

  std::unique_ptr<Process> follower_;
  std::unique_ptr<WorkerProcess> leader_;
  std::unique_ptr<WorkerProcess> alone_;
  std::unique_ptr<RouterProcess> router_;
};

TEST_F(GroupFaultsTest, AKilledFollowerEndsTheLeaderAndTheStreamMoves) {
  ASSERT_NO_FATAL_FAILURE(Start({}, "127.0.0.1"));
  ExpectEndAndMove([&] { follower_->Signal(SIGKILL); }, "group is broken: rank 1 ");
}

TEST_F(GroupFaultsTest, AStoppedFollowerEndsTheLeaderAndTheStreamMoves) {
  ASSERT_NO_FATAL_FAILURE(Start({}, "127.0.0.1"));
  ExpectEndAndMove([&] { follower_->Signal(SIGSTOP); },
                   "group is broken: rank 1 has kept a frame waiting for 6000 ms");
  // Once it goes on it finds its leader gone.
  follower_->Signal(SIGCONT);
  EXPECT_EQ(follower_->Wait(), kExitSoftware);
}

TEST_F(GroupFaultsTest, ACutCableEndsBothAndTheStreamMoves) {
  std::string why;
  const auto wire = CutWire::Lay(why);
  if (!wire) GTEST_SKIP() << why;
  ASSERT_NO_FATAL_FAILURE(Start(wire->far(), wire->near_address()));
  ExpectEndAndMove(
      [&] {
        wire->CutToFar();
        wire->CutFromFar();
      },
      "group is broken: rank 1 ");
  EXPECT_EQ(follower_->Wait(), kExitSoftware) << follower_->error();
}

// Its process lives, and goes on giving signs of life.
TEST_F(GroupFaultsTest, ARankThatHangsInAFollowerEndsTheLeaderAndTheStreamMoves) {
  ASSERT_NO_FATAL_FAILURE(Start({}, "127.0.0.1", "stuck_rank:80:1"));
  ExpectEndAndMove([] {}, ", rank 1 last beat in step 79 layer ");
  EXPECT_EQ(follower_->Wait(), kExitSoftware) << follower_->error();
}

TEST_F(GroupFaultsTest, AKilledLeaderEndsItsFollower) {
  ASSERT_NO_FATAL_FAILURE(Start({}, "127.0.0.1"));
  leader_->process().Signal(SIGKILL);
  const auto begun = steady_clock::now();
  EXPECT_EQ(follower_->Wait(), kExitSoftware) << follower_->error();
  EXPECT_LT(steady_clock::now() - begun, kMost);
  EXPECT_NE(follower_->error().find("the leader has closed its connection"), std::string::npos)
      << follower_->error();
}

// A rank of the group as another program would be: what the leader makes of it.
class StrangeFollowerTest : public testing::Test {
 protected:
  void SetUp() override {
    std::vector<std::string> command = GroupOptions("0", Address());
    leader_ = StartRanks(command);
    ASSERT_TRUE(leader_->WaitForErrorLine("waiting for the group's ranks")) << leader_->error();
    auto key = parallel::GroupKey::Read(GroupTokenFile());
    ASSERT_TRUE(key.ok()) << key.status();
    key_.emplace(*std::move(key));
  }
  std::string Address() const { return port_.address(); }

  std::unique_ptr<parallel::PeerLink> Dial() {
    const auto socket = parallel::DialGroup(Address(), kPatience);
    EXPECT_TRUE(socket.ok()) << socket.status();
    return std::make_unique<parallel::PeerLink>(*socket, "the leader", kPatience);
  }
  absl::Status Greet(const parallel::Greeting& greeting) {
    links_.push_back(Dial());
    return parallel::FollowerHandshake(*links_.back(), *key_).Greet(greeting);
  }
  void ExpectEnd(int code, const std::string& line) {
    const auto begun = steady_clock::now();
    EXPECT_EQ(leader_->Wait(), code) << leader_->error();
    EXPECT_LT(steady_clock::now() - begun, kMost);
    EXPECT_NE(leader_->error().find(line), std::string::npos) << leader_->error();
  }

  const FreePort port_;
  std::unique_ptr<Process> leader_;
  std::optional<parallel::GroupKey> key_;
  std::vector<std::unique_ptr<parallel::PeerLink>> links_;
};

TEST_F(StrangeFollowerTest, AnotherVersionEndsTheStart) {
  parallel::Greeting greeting;
  greeting.version = "0";
  greeting.size = 2;
  greeting.first_rank = 1;
  const absl::Status refused = Greet(greeting);
  EXPECT_NE(refused.message().find("its version is 0, the leader's is "), std::string::npos)
      << refused;
  ExpectEnd(78, "rank 1 cannot join the group: its version is 0, the leader's is ");
}

TEST_F(StrangeFollowerTest, GarbageAtTheDoorIsTurnedAway) {
  {
    const auto socket = parallel::DialGroup(Address(), kPatience);
    ASSERT_TRUE(socket.ok()) << socket.status();
    const std::string garbage = "GET / HTTP/1.1\r\nHost: a.stranger.of.the.group\r\n\r\n";
    EXPECT_EQ(send(*socket, garbage.data(), garbage.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(garbage.size()));
    parallel::PeerLink link(*socket, "the leader", kPatience);
    EXPECT_TRUE(leader_->WaitForErrorLine("turned away at the group's door")) << leader_->error();
  }
  // The leader waits on, for a follower that is one.
  const auto follower = StartRanks(GroupOptions("1", Address()));
  EXPECT_TRUE(follower->WaitForErrorLine("\"message\":\"following\"")) << follower->error();
}

TEST(GroupStartTest, ARankThatTwoProcessesHaveEndsTheStart) {
  const FreePort port;
  const std::string address = port.address();
  const auto leader = StartRanks(GroupOptions("0", address, 4));
  const auto first = StartRanks(GroupOptions("1-2", address, 4));
  ASSERT_TRUE(leader->WaitForErrorLine("ranks 1 to 2")) << leader->error();
  const auto second = StartRanks(GroupOptions("2-3", address, 4));
  const auto begun = steady_clock::now();
  const std::string why = "rank 2 is in the group already: two processes have it";
  EXPECT_EQ(leader->Wait(), 78);
  EXPECT_LT(steady_clock::now() - begun, kMost);
  EXPECT_NE(leader->error().find(why), std::string::npos) << leader->error();
  EXPECT_EQ(second->Wait(), 78);
  EXPECT_NE(second->error().find(why), std::string::npos) << second->error();
  EXPECT_EQ(first->Wait(), 1) << first->error();  // it may come together the next time
}

}  // namespace
}  // namespace thinkwire::integration

// Who was closed for what he did, and comes again (ConnectionTable::RestsUntil).

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/peer_limits.h"
#include "tests/common/rpc/dial.h"
#include "tests/common/rpc/listener_fixture.h"

namespace thinkwire::rpc {
namespace {

class ShortRestTest : public ListenerTest {
 protected:
  ShortRestTest() { rest_ = std::chrono::milliseconds(100); }
};

TEST_F(ShortRestTest, WhoWasClosedIsServedAgainAfterIt) {
  const FileDescriptor first = Dial("127.0.0.3");
  AwaitServed(1);
  const Clock::TimePoint closed = Clock::Real().Now();
  listener_->connections().Close(NameOf(first));
  const FileDescriptor second = Dial("127.0.0.3");
  AwaitServed(2);
  EXPECT_GE(Clock::Real().Now() - closed, rest_);
  EXPECT_EQ(refused_.Value(), 0);
}

TEST_F(ShortRestTest, OneAfterAnother) {
  const FileDescriptor first = Dial("127.0.0.3");
  AwaitServed(1);
  listener_->connections().Close(NameOf(first));
  const FileDescriptor second = Dial("127.0.0.3");
  const FileDescriptor third = Dial("127.0.0.3");
  AwaitServed(2);
  // It does again what its peer was closed for: the next one waits for that again.
  listener_->connections().Close(NameOf(second));
  const Clock::TimePoint closed = Clock::Real().Now();
  AwaitServed(3);
  EXPECT_GE(Clock::Real().Now() - closed, rest_);
}

TEST_F(ShortRestTest, WhoHasGoneMeanwhileIsNotServed) {
  const FileDescriptor first = Dial("127.0.0.3");
  AwaitServed(1);
  listener_->connections().Close(NameOf(first));
  FileDescriptor second = Dial("127.0.0.3");
  ASSERT_EQ(send(second.get(), "x", 1, 0), 1);
  second = FileDescriptor();
  const FileDescriptor third = Dial("127.0.0.3");
  AwaitServed(2);
  EXPECT_EQ(LastServed(), NameOf(third));
}

class LongRestTest : public ListenerTest {
 protected:
  LongRestTest() { rest_ = std::chrono::hours(1); }

  void CloseOneOf(const char* source) {
    const FileDescriptor client = Dial(source);
    AwaitServed(++served_so_far_);
    listener_->connections().Close(NameOf(client));
  }
  void ExpectServed(const FileDescriptor& client) {
    AwaitServed(++served_so_far_);
    EXPECT_EQ(LastServed(), NameOf(client));
  }

  std::size_t served_so_far_ = 0;
};

TEST_F(LongRestTest, OthersAreServedMeanwhile) {
  CloseOneOf("127.0.0.3");
  const FileDescriptor waiting = Dial("127.0.0.3");
  const FileDescriptor other = Dial("127.0.0.4");
  ExpectServed(other);
}

TEST_F(LongRestTest, SomeOfAPeerWait) {
  CloseOneOf("127.0.0.3");
  std::vector<FileDescriptor> waiting;
  for (std::size_t i = 0; i < kMaxWaitingOfPeer; ++i) waiting.push_back(Dial("127.0.0.3"));
  EXPECT_TRUE(EndsInReset(Dial("127.0.0.3")));
  EXPECT_EQ(refused_.Value(), 1);
  listener_->Stop();
  for (const FileDescriptor& one : waiting) EXPECT_TRUE(EndsInOrder(one));
}

TEST_F(LongRestTest, SomeOfAllPeersWait) {
  constexpr std::size_t kPeers = kMaxWaitingConnections / kMaxWaitingOfPeer + 1;
  std::vector<std::string> peers;
  for (std::size_t i = 0; i < kPeers; ++i) peers.push_back(absl::StrCat("127.0.0.", 10 + i));
  for (const std::string& peer : peers) CloseOneOf(peer.c_str());
  std::vector<FileDescriptor> waiting;
  for (std::size_t i = 0; i < kMaxWaitingConnections; ++i) {
    waiting.push_back(Dial(peers[i / kMaxWaitingOfPeer].c_str()));
  }
  EXPECT_TRUE(EndsInReset(Dial(peers.back().c_str())));
  EXPECT_EQ(refused_.Value(), 1);
}

}  // namespace
}  // namespace thinkwire::rpc

#include "common/rpc/listener.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "tests/common/rpc/dial.h"
#include "tests/common/rpc/listener_fixture.h"
#include "tests/sanitized.h"

namespace thinkwire::rpc {
namespace {

constexpr int kNever = 60'000;  // ms; not reached by a passing test

// Of this process.
std::ptrdiff_t OpenFiles() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
}

TEST_F(ListenerTest, OneTooManyIsResetWhileAllAreBusy) {
  std::vector<FileDescriptor> clients;
  std::vector<ConnectionTable::Call> calls;
  const auto busy = [&] {
    clients.push_back(Dial());
    AwaitServed(clients.size());
    calls.push_back(BeginCall(clients.back()));
  };
  for (int i = 0; i < kLimit; ++i) busy();
  EXPECT_TRUE(EndsInReset(Dial()));
  EXPECT_TRUE(EndsInReset(Dial()));
  EXPECT_EQ(refused_.Value(), 2);

  shutdown(clients.front().get(), SHUT_WR);  // by its client
  AwaitConnections(kLimit - 1);
  busy();
  {
    MutexLock lock(mu_);  // by who serves it
    shutdown(served_.back().get(), SHUT_RDWR);
  }
  AwaitConnections(kLimit - 1);
  busy();
  EXPECT_TRUE(EndsInReset(Dial()));
  EXPECT_EQ(refused_.Value(), 3);
  EXPECT_EQ(displaced_.Value(), 0);
}

TEST_F(ListenerTest, TheLongestIdleEndsForANewOne) {
  std::vector<FileDescriptor> clients;
  const auto dial = [&](const char* source) {
    clients.push_back(Dial(source));
    AwaitServed(clients.size());
  };
  for (int i = 0; i < kLimit; ++i) dial("127.0.0.2");
  const auto call = BeginCall(clients[0]);
  dial("127.0.0.1");
  EXPECT_TRUE(EndsInOrder(clients[1]));
  dial("127.0.0.2");
  EXPECT_TRUE(EndsInOrder(clients[2]));
  EXPECT_EQ(connections_.Value(), kLimit);
  EXPECT_EQ(displaced_.Value(), 2);
  EXPECT_EQ(refused_.Value(), 0);
}

TEST_F(ListenerTest, ANameThatIsClosedEndsAtBothEnds) {
  const FileDescriptor client = Dial("127.0.0.3");
  AwaitServed(1);
  listener_->connections().Close(NameOf(client));
  EXPECT_TRUE(EndsInOrder(client));
  MutexLock lock(mu_);
  std::array<char, 1> byte{};
  EXPECT_EQ(recv(served_.front().get(), byte.data(), byte.size(), 0), 0);
}

TEST_F(ListenerTest, DataIsLeftToWhoServes) {
  const FileDescriptor client = Dial();
  AwaitServed(1);
  ASSERT_EQ(send(client.get(), "hello", 5, 0), 5);
  MutexLock lock(mu_);
  pollfd readable{.fd = served_.front().get(), .events = POLLIN, .revents = 0};
  ASSERT_EQ(poll(&readable, 1, kNever), 1);
  std::array<char, 8> text{};
  EXPECT_EQ(recv(served_.front().get(), text.data(), text.size(), 0), 5);
  EXPECT_STREQ(text.data(), "hello");
}

TEST_F(ListenerTest, ConnectionsOutliveIt) {
  const FileDescriptor client = Dial();
  AwaitServed(1);
  listener_->Stop();
  EXPECT_EQ(connections_.Value(), 0);
  MutexLock lock(mu_);
  ASSERT_EQ(send(served_.front().get(), "x", 1, 0), 1);
  std::array<char, 1> byte{};
  EXPECT_EQ(recv(client.get(), byte.data(), byte.size(), 0), 1);
}

TEST_F(ListenerTest, AWatchedConnectionTakesTwoFiles) {
  const std::ptrdiff_t before = OpenFiles();
  const FileDescriptor client = Dial();
  AwaitServed(1);
  EXPECT_EQ(OpenFiles() - before, 1 + kFilesOfWatched);
}

// Whoever is served says when a connection ends.
class OwnedConnectionTest : public ListenerTest {
 protected:
  void Start() override {
    listener_->Start([this](Listener::Accepted connection) {
      entries_.push_back(std::move(connection.entry));  // read once it is served
      Serve(std::move(connection.socket));
    });
  }
  void TearDown() override { listener_->Stop(); }

  FileDescriptor& served(std::size_t i) {
    MutexLock lock(mu_);
    return served_[i];
  }

  std::vector<ConnectionTable::Entry> entries_;
};

TEST_F(OwnedConnectionTest, TakesOneFile) {
  const std::ptrdiff_t before = OpenFiles();
  const FileDescriptor client = Dial();
  AwaitServed(1);
  EXPECT_EQ(OpenFiles() - before, 2);  // the client's and the server's
}

TEST_F(OwnedConnectionTest, HasItsPlaceUntilItsOwnerLetsGo) {
  std::vector<FileDescriptor> clients;
  std::vector<ConnectionTable::Call> calls;
  for (int i = 0; i < kLimit; ++i) {
    clients.push_back(Dial());
    AwaitServed(clients.size());
    calls.push_back(BeginCall(clients.back()));
  }
  shutdown(clients.front().get(), SHUT_RDWR);
  EXPECT_TRUE(EndsInReset(Dial()));
  EXPECT_EQ(connections_.Value(), kLimit);
  entries_.front() = {};
  EXPECT_EQ(connections_.Value(), kLimit - 1);
  clients.push_back(Dial());
  AwaitServed(clients.size());
  EXPECT_EQ(refused_.Value(), 1);
}

TEST_F(OwnedConnectionTest, IsShutDownForANewOneAndClosedByItsOwner) {
  std::vector<FileDescriptor> clients;
  const auto dial = [&](const char* source) {
    clients.push_back(Dial(source));
    AwaitServed(clients.size());
  };
  for (int i = 0; i < kLimit; ++i) dial("127.0.0.2");
  dial("127.0.0.1");
  EXPECT_TRUE(EndsInOrder(served(0)));
  EXPECT_TRUE(EndsInOrder(clients[0]));
  EXPECT_EQ(connections_.Value(), kLimit);
  entries_.front() = {};
  EXPECT_EQ(connections_.Value(), kLimit);
  EXPECT_EQ(displaced_.Value(), 1);
}

TEST_F(ListenerTest, AcceptsAgainAfterFilesHaveRunOut) {
  if (kSanitized) GTEST_SKIP() << "UndefinedBehaviorSanitizer's looks at types need files too";
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit one_more = before;
  one_more.rlim_cur = static_cast<rlim_t>(FileDescriptor(dup(STDERR_FILENO)).get()) + 1;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &one_more), 0);
  const FileDescriptor waiting = Dial();  // takes it, and leaves none for the listener's end
  pollfd ended{.fd = waiting.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&ended, 1, 300), 0);  // it waits, and is not lost
  EXPECT_EQ(connections_.Value(), 0);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  AwaitServed(1);
}

TEST(Listener, RefusesWhatItCannotHave) {
  const auto first = Listener::Listen({.address = "127.0.0.1:0"});
  ASSERT_TRUE(first.ok()) << first.status();
  const std::string taken = absl::StrCat("127.0.0.1:", (*first)->port());
  for (const std::string& address :
       {taken, std::string("127.0.0.1"), std::string("::1:80"), std::string("[::1:80"),
        std::string("127.0.0.1:http"), std::string("127.0.0.1:99999"), std::string("192.0.2.1:0"),
        std::string("no.such.host.invalid:0")}) {
    const auto listener = Listener::Listen({.address = address});
    EXPECT_EQ(listener.status().code(), absl::StatusCode::kUnavailable) << address;
    EXPECT_NE(listener.status().message().find(address), absl::string_view::npos)
        << listener.status();
  }
}

TEST(Listener, TakesEveryAddressOfAName) {
  for (const std::string address : {"localhost:0", ":0", "0.0.0.0:0", "[::]:0"}) {
    auto listener = Listener::Listen({.address = address});
    if (address == "[::]:0" && !listener.ok()) continue;  // a machine without IPv6
    ASSERT_TRUE(listener.ok()) << listener.status();
    const FileDescriptor client = Dial((*listener)->port());  // by IPv4
  }
}

TEST(Listener, MakesRoomWithinTheHardLimit) {
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit before = limit;
  limit.rlim_cur = 300;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(MakeRoomForConnections(10), 10);
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(limit.rlim_cur, 300);
  EXPECT_EQ(MakeRoomForConnections(100), 100);
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_GE(limit.rlim_cur, 2 * 100);
  EXPECT_EQ(MakeRoomForFiles(500), 500);
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_GE(limit.rlim_cur, 500);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
}

TEST(ListenerDeathTest, SaysWhatIsMissingWhereNoConnectionFits) {
  const auto check = [](rlim_t files) {
    const rlimit limit{.rlim_cur = files, .rlim_max = files};
    setrlimit(RLIMIT_NOFILE, &limit);
    const absl::Status status = CheckRoomForConnections(1024);
    std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
    std::_Exit(status.ok() ? 0 : 1);
  };
  EXPECT_EXIT(check(257), testing::ExitedWithCode(1),
              "^ulimit -n allows 257 open files .*256 are for the process itself .* 258 at least, "
              "and 2304 for --max_connections 1024\n$");
  EXPECT_EXIT(check(258), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace thinkwire::rpc

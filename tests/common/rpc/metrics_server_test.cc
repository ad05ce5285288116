#include "common/rpc/metrics_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <prometheus/counter.h>
#include <prometheus/registry.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <deque>
#include <future>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/metrics.h"
#include "tests/common/rpc/dial.h"
#include "tests/sanitized.h"

namespace thinkwire::rpc {
namespace {

constexpr char kScrape[] = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
// Never reached by a passing test.
constexpr std::chrono::seconds kForever{60};
constexpr std::chrono::milliseconds kShort{300};

// More than a loopback connection takes that nobody reads.
const std::string kLargePage(std::size_t{32} << 20, 'x');

void Send(const FileDescriptor& connection, const std::string& bytes) {
  EXPECT_EQ(send(connection.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes.size()));
}

struct Answer {
  std::string text;
  bool reset = false;
  std::string status() const { return text.substr(0, text.find("\r\n")); }
  std::string content() const {
    const std::size_t end = text.find("\r\n\r\n");
    return end == text.npos ? "" : text.substr(end + 4);
  }
};

Answer ReadToEnd(const FileDescriptor& connection) {
  Answer answer;
  std::array<char, 4096> bytes{};
  ssize_t got = 0;
  while ((got = recv(connection.get(), bytes.data(), bytes.size(), 0)) > 0) {
    answer.text.append(bytes.data(), static_cast<std::size_t>(got));
  }
  answer.reset = got < 0 && errno == ECONNRESET;
  return answer;
}

// Waits until the server has ended the connection in both directions, whatever it has sent before.
void AwaitEnd(const FileDescriptor& connection) {
  while (send(connection.get(), "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 || errno == EAGAIN) {
    std::this_thread::yield();
  }
}

class MetricsServerTest : public testing::Test {
 protected:
  // Its pages are `page`.
  void Start(std::string page, Clock::Duration patience, const std::string& listen) {
    auto server = MetricsServer::Start({.listen = listen,
                                        .page =
                                            [this, page = std::move(page)] {
                                              ++num_pages_;
                                              return page;
                                            },
                                        .patience = patience});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  void Start(Clock::Duration patience = kForever) { Start("up 1\n", patience, "127.0.0.1:0"); }

  FileDescriptor Dial(const char* source = "127.0.0.1") const {
    return rpc::Dial(server_->port(), source);
  }

  Answer Ask(const std::string& request) const {
    const FileDescriptor connection = Dial();
    Send(connection, request);
    return ReadToEnd(connection);
  }

  std::atomic<int> num_pages_ = 0;
  std::unique_ptr<MetricsServer> server_;
};

TEST_F(MetricsServerTest, ShowsThePageToWhoAsksForIt) {
  Start();
  for (const char* target : {"/metrics", "/", "/metrics?name=up"}) {
    const Answer answer = Ask(absl::StrCat("GET ", target, " HTTP/1.1\r\nHost: a\r\n\r\n"));
    EXPECT_EQ(answer.text,
              "HTTP/1.1 200 OK\r\n"
              "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
              "Content-Length: 5\r\n"
              "Connection: close\r\n\r\n"
              "up 1\n");
    EXPECT_FALSE(answer.reset);
  }
  const Answer head = Ask("HEAD /metrics HTTP/1.1\r\n\r\n");
  EXPECT_NE(head.text.find("Content-Length: 5\r\n"), std::string::npos);
  EXPECT_EQ(head.content(), "");
}

TEST_F(MetricsServerTest, SaysWhatIsWrongWithOtherRequests) {
  Start();
  EXPECT_EQ(Ask("GET /other HTTP/1.1\r\n\r\n").status(), "HTTP/1.1 404 Not Found");
  const Answer post = Ask("POST /metrics HTTP/1.1\r\n\r\n");
  EXPECT_EQ(post.status(), "HTTP/1.1 405 Method Not Allowed");
  EXPECT_NE(post.text.find("Allow: GET, HEAD\r\n"), std::string::npos);
  for (const char* request :
       {"\r\n\r\n", "GET\r\n\r\n", "GET /metrics\r\n\r\n", "GET  /metrics HTTP/1.1\r\n\r\n",
        "GET /metrics HTTP/2\r\n\r\n", "GET metrics HTTP/1.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\n\n"}) {
    const Answer answer = Ask(request);
    EXPECT_EQ(answer.status(), "HTTP/1.1 400 Bad Request") << request;
    EXPECT_FALSE(answer.reset) << request;
  }
  EXPECT_EQ(num_pages_, 0);
}

TEST_F(MetricsServerTest, TakesARequestInAnyPieces) {
  Start();
  const FileDescriptor connection = Dial();
  for (const char byte : std::string(kScrape)) Send(connection, std::string(1, byte));
  EXPECT_EQ(ReadToEnd(connection).content(), "up 1\n");
}

TEST_F(MetricsServerTest, HalfOpenRequestsHoldNobodyUp) {
  Start();
  constexpr int kHalfOpen = 200;
  std::vector<FileDescriptor> half_open;
  for (int i = 0; i < kHalfOpen; ++i) {
    half_open.push_back(Dial());
    Send(half_open.back(), "GET /metrics HTTP/1.1\r\n");
  }
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(Ask(kScrape).content(), "up 1\n");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kForever / 6);  // and so waits for none
  // Those that were there first had to go, and the last ones did not.
  for (int i = 0; i < kHalfOpen - MetricsServer::kMaxConnections; ++i) {
    EXPECT_EQ(ReadToEnd(half_open[static_cast<std::size_t>(i)]).text, "") << i;
  }
  Send(half_open.back(), "\r\n");
  EXPECT_EQ(ReadToEnd(half_open.back()).content(), "up 1\n");
}

TEST_F(MetricsServerTest, WhoHasMostConnectionsLosesTheOldest) {
  Start();
  const FileDescriptor others = Dial("127.0.0.2");
  Send(others, "GET /metrics HTTP/1.1\r\n");
  std::vector<FileDescriptor> greedy;
  for (int i = 0; i < 3 * MetricsServer::kMaxConnections; ++i) {
    greedy.push_back(Dial("127.0.0.3"));
    Send(greedy.back(), "GET /metrics HTTP/1.1\r\n");
  }
  AwaitEnd(greedy[greedy.size() - MetricsServer::kMaxConnections]);
  Send(greedy.back(), "\r\n");
  EXPECT_EQ(ReadToEnd(greedy.back()).content(), "up 1\n");
  Send(others, "\r\n");
  EXPECT_EQ(ReadToEnd(others).content(), "up 1\n");
}

TEST_F(MetricsServerTest, WhoHasAskedIsAnsweredHoweverManyAsk) {
  std::promise<void> all_asked;
  const std::shared_future<void> asked = all_asked.get_future().share();
  auto server = MetricsServer::Start({.listen = "127.0.0.1:0", .page = [asked] {
                                        asked.wait();
                                        return "up 1\n";
                                      }});
  ASSERT_TRUE(server.ok()) << server.status();
  std::vector<FileDescriptor> clients;
  for (int i = 0; i < 5 * MetricsServer::kMaxConnections; ++i) {
    clients.push_back(rpc::Dial((*server)->port()));
    Send(clients.back(), kScrape);
  }
  all_asked.set_value();
  for (const FileDescriptor& client : clients) {
    const Answer answer = ReadToEnd(client);
    EXPECT_EQ(answer.content(), "up 1\n");
    EXPECT_FALSE(answer.reset);
  }
}

TEST_F(MetricsServerTest, AFloodOfRequestsFailsNoScrape) {
  Start(std::string(64 << 10, 'x'), kForever, "127.0.0.1:0");
  std::atomic<bool> stop = false;
  std::vector<std::thread> flood;
  for (int i = 0; i < 4; ++i) {
    flood.emplace_back([&] {
      std::deque<FileDescriptor> connections;  // as many at once as nobody would read in time
      while (!stop) {
        connections.push_back(Dial("127.0.0.2"));
        Send(connections.back(), kScrape);
        if (connections.size() > 100) connections.pop_front();
      }
    });
  }
  constexpr int kScrapes = 50;
  for (int i = 0; i < kScrapes; ++i) {
    const FileDescriptor connection = Dial("127.0.0.3");
    Send(connection, kScrape);
    EXPECT_EQ(ReadToEnd(connection).content().size(), 64u << 10) << i;
  }
  stop = true;
  for (std::thread& thread : flood) thread.join();
}

TEST_F(MetricsServerTest, AConnectionEndsWhenItsTimeIsOver) {
  Start(std::chrono::milliseconds(1500));
  const FileDescriptor silent = Dial();
  const FileDescriptor half_open = Dial();
  Send(half_open, "GET /metrics HTTP/1.1\r\n");
  const FileDescriptor answered = Dial();
  Send(answered, kScrape);
  EXPECT_EQ(ReadToEnd(silent).text, "");
  EXPECT_EQ(ReadToEnd(half_open).text, "");
  EXPECT_EQ(ReadToEnd(answered).content(), "up 1\n");
  AwaitEnd(answered);
}

TEST_F(MetricsServerTest, ASlowReaderHoldsNobodyUpAndEndsInTime) {
  for (const Clock::Duration patience : {Clock::Duration(kForever), Clock::Duration(kShort)}) {
    Start(kLargePage, patience, "127.0.0.1:0");
    num_pages_ = 0;
    const FileDescriptor slow = Dial();
    Send(slow, kScrape);
    while (num_pages_ == 0) std::this_thread::yield();
    if (patience == kForever) {
      EXPECT_EQ(Ask("GET /other HTTP/1.1\r\n\r\n").status(), "HTTP/1.1 404 Not Found");
    } else {
      AwaitEnd(slow);
    }
  }
}

TEST_F(MetricsServerTest, ALargePageArrivesWhole) {
  std::string page;
  while (page.size() < 8 << 20) absl::StrAppend(&page, "a_counter_total ", page.size(), "\n");
  Start(page, kForever, "127.0.0.1:0");
  EXPECT_EQ(Ask(kScrape).content(), page);
}

TEST_F(MetricsServerTest, AHeaderTooLongIsRefusedAndNotKept) {
  Start();
  const FileDescriptor connection = Dial();
  Send(connection, "GET /metrics HTTP/1.1\r\nX: " + std::string(1 << 20, 'x'));
  const Answer answer = ReadToEnd(connection);
  EXPECT_EQ(answer.status(), "HTTP/1.1 431 Request Header Fields Too Large");
  EXPECT_FALSE(answer.reset);

  const std::string longest = absl::StrCat("GET /metrics HTTP/1.1\r\nX: ");
  const std::string fits(kMaxHttpHeaderBytes - longest.size() - 4, 'x');
  EXPECT_EQ(Ask(absl::StrCat(longest, fits, "\r\n\r\n")).content(), "up 1\n");
  EXPECT_EQ(Ask(absl::StrCat(longest, fits, "x\r\n\r\n")).status(),
            "HTTP/1.1 431 Request Header Fields Too Large");
}

TEST_F(MetricsServerTest, WhatFollowsARequestIsThrownAway) {
  Start();
  for (const std::string& garbage :
       {std::string(1 << 20, '\xff'), std::string(kScrape), std::string(100, '\0')}) {
    const Answer answer = Ask(kScrape + garbage);
    EXPECT_EQ(answer.content(), "up 1\n");
    EXPECT_FALSE(answer.reset);
  }
  EXPECT_EQ(num_pages_, 3);
}

TEST_F(MetricsServerTest, ListensOnIpv6Too) {
  for (const std::string listen : {"[::1]:0", "[::]:0"}) {
    auto server = MetricsServer::Start({.listen = listen, .page = [] { return "up 1\n"; }});
    if (!server.ok()) GTEST_SKIP() << "a machine without IPv6: " << server.status();
    const FileDescriptor connection(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(static_cast<std::uint16_t>((*server)->port()));
    address.sin6_addr = in6addr_loopback;
    ASSERT_EQ(connect(connection.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    Send(connection, kScrape);
    EXPECT_EQ(ReadToEnd(connection).content(), "up 1\n") << listen;
  }
}

TEST_F(MetricsServerTest, AnswersOnceThereAreFilesAgain) {
  if (kSanitized) GTEST_SKIP() << "UndefinedBehaviorSanitizer's looks at types need files too";
  Start();
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit one_more = before;
  one_more.rlim_cur = static_cast<rlim_t>(FileDescriptor(dup(STDERR_FILENO)).get()) + 1;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &one_more), 0);
  const FileDescriptor waiting = Dial();  // takes it, and leaves none for the server's end
  Send(waiting, kScrape);
  pollfd ended{.fd = waiting.get(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&ended, 1, 300), 0);  // it waits, and is not lost
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(ReadToEnd(waiting).content(), "up 1\n");
}

TEST_F(MetricsServerTest, EndsWithConnectionsInEveryState) {
  Start(kLargePage, kForever, "127.0.0.1:0");
  const FileDescriptor silent = Dial();
  const FileDescriptor half_open = Dial();
  Send(half_open, "GET /met");
  const FileDescriptor slow = Dial();
  Send(slow, kScrape);
  while (num_pages_ == 0) std::this_thread::yield();
  server_.reset();
  EXPECT_EQ(ReadToEnd(silent).text, "");
  EXPECT_EQ(ReadToEnd(half_open).text, "");
  EXPECT_LT(ReadToEnd(slow).text.size(), kLargePage.size());
}

TEST(ShowMetrics, ShowsThemOrSaysWhyItCannot) {
  Metrics metrics("thinkwire_test");
  prometheus::BuildCounter().Name("thinkwire_test_total").Register(metrics.registry()).Add({});
  const auto nowhere = ShowMetrics(metrics, "");
  ASSERT_TRUE(nowhere.ok());
  EXPECT_EQ(*nowhere, nullptr);
  const auto server = ShowMetrics(metrics, "127.0.0.1:0");
  ASSERT_TRUE(server.ok()) << server.status();
  const FileDescriptor connection = Dial((*server)->port());
  Send(connection, kScrape);
  const std::string page = ReadToEnd(connection).content();
  EXPECT_NE(page.find("\nthinkwire_test_total 0\n"), std::string::npos) << page;
  EXPECT_NE(page.find("\nprocess_open_fds "), std::string::npos) << page;

  const std::string taken = absl::StrCat("127.0.0.1:", (*server)->port());
  const absl::Status status = ShowMetrics(metrics, taken).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(status.message().find(taken), absl::string_view::npos);
}

}  // namespace
}  // namespace thinkwire::rpc

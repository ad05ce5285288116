#include "common/rpc/channel.h"

#include <grpcpp/channel.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/file_descriptor.h"

namespace thinkwire::rpc {
namespace {

class ProxyTest : public testing::Test {
 protected:
  ProxyTest() { Clear(); }
  ~ProxyTest() override { Clear(); }

  static void Clear() {
    for (const char* variable :
         {"grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"}) {
      unsetenv(variable);
    }
  }
};

TEST_F(ProxyTest, IsTheFirstOneNamedWithoutItsPassword) {
  EXPECT_EQ(ProxyOfEnvironment("router:50051"), "");
  setenv("http_proxy", "http://me:secret@proxy:3128", 1);
  EXPECT_EQ(ProxyOfEnvironment("router:50051"), "http://proxy:3128 (http_proxy)");
  setenv("grpc_proxy", "http://other:1", 1);
  EXPECT_EQ(ProxyOfEnvironment("router:50051"), "http://other:1 (grpc_proxy)");
}

TEST_F(ProxyTest, IsNoneForExceptions) {
  setenv("http_proxy", "http://proxy:3128", 1);
  setenv("no_proxy", "localhost,.example.org", 1);
  EXPECT_EQ(ProxyOfEnvironment("router.Example.org:1"), "");
  EXPECT_NE(ProxyOfEnvironment("router.example.com:1"), "");
}

TEST_F(ProxyTest, IsNotWantedForThisMachine) {
  EXPECT_EQ(ProxyFor("localhost:1"), Proxy::kNone);
  EXPECT_EQ(ProxyFor("[::1]:1"), Proxy::kNone);
  EXPECT_EQ(ProxyFor("router:1"), Proxy::kOfEnvironment);
}

// Takes connections, and says its first word on each after so long.
class SlowServer {
 public:
  explicit SlowServer(std::chrono::milliseconds until_first_word)
      : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(listener_.get(), generic, size), 0);
    EXPECT_EQ(listen(listener_.get(), 8), 0);
    EXPECT_EQ(getsockname(listener_.get(), generic, &size), 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this, until_first_word] { Serve(until_first_word); });
  }
  ~SlowServer() {
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }
  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }

 private:
  void Serve(std::chrono::milliseconds until_first_word) {
    constexpr unsigned char kSettings[9] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
    std::vector<FileDescriptor> connections;
    for (int fd; (fd = accept(listener_.get(), nullptr, nullptr)) >= 0;) {
      connections.emplace_back(fd);
      std::this_thread::sleep_for(until_first_word);
      send(fd, kSettings, sizeof(kSettings), MSG_NOSIGNAL);
    }
  }

  FileDescriptor listener_;
  int port_ = 0;
  std::thread thread_;
};

TEST(ChannelTest, ReachesAServerThatTakesSecondsForItsFirstWord) {
  SlowServer server(std::chrono::milliseconds(2500));
  const auto channel = MakeChannel(server.address());
  EXPECT_TRUE(
      channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(60)));
}

}  // namespace
}  // namespace thinkwire::rpc

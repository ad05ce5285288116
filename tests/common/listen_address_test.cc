#include "common/listen_address.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace thinkwire {
namespace {

constexpr const char* kLoopback[] = {"127.0.0.1:1",         "127.1.2.3:1",         "127.1:1",
                                     "localhost:1",         "LocalHost:1",         "[::1]:1",
                                     "[0:0:0:0:0:0:0:1]:1", "[::ffff:127.0.0.1]:1"};
constexpr const char* kOthers[] = {
    "0.0.0.0:1",         "[::]:1",       ":1",      "10.0.0.1:1",         "localhost.example.org:1",
    "127.example.org:1", "router:50051", "[::2]:1", "[::ffff:10.0.0.1]:1"};

TEST(IsLoopback, IsWhatThisMachineAloneReaches) {
  for (const char* address : kLoopback) EXPECT_TRUE(IsLoopback(address)) << address;
  for (const char* address : kOthers) EXPECT_FALSE(IsLoopback(address)) << address;
}

TEST(CheckListen, WantsAWordBeforeOtherMachinesReachIt) {
  for (const char* address : kLoopback) EXPECT_TRUE(CheckListen(address, false).ok()) << address;
  for (const char* address : kOthers) {
    const absl::Status status = CheckListen(address, false);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << address;
    EXPECT_EQ(status.message().find(std::string("--listen ") + address + ": "), 0u) << status;
    EXPECT_NE(status.message().find("--insecure_listen"), absl::string_view::npos) << status;
    EXPECT_TRUE(CheckListen(address, true).ok()) << address;
  }
  EXPECT_EQ(CheckListen("::1:1", true).message(), "--listen: '::1:1' is not host:port");
}

TEST(ListenAddress, ReadsNamesAndBothKindsOfAddress) {
  for (const auto& [text, host, port] :
       {std::array<const char*, 3>{"localhost:80", "localhost", "80"},
        {"127.0.0.1:0", "127.0.0.1", "0"},
        {"[::1]:65535", "::1", "65535"},
        {":1", "", "1"}}) {
    const auto address = ReadListenAddress(text);
    ASSERT_TRUE(address.has_value()) << text;
    EXPECT_EQ(address->host, host);
    EXPECT_EQ(address->port, port);
  }
}

TEST(ListenAddress, RefusesWhatIsMalformedByItsOption) {
  for (const char* text : {"", "x", "x:", "x:-1", "x:65536", "x:4294967297", "::1:80", "[::1:80"}) {
    EXPECT_FALSE(ReadListenAddress(text).has_value()) << text;
  }
  EXPECT_EQ(CheckListenAddress("listen", "x\n"),
            absl::InvalidArgumentError("--listen: 'x\\n' is not host:port"));
  EXPECT_TRUE(CheckListenAddress("listen", "x:1").ok());
}

}  // namespace
}  // namespace thinkwire

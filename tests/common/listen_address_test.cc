#include "common/listen_address.h"

#include <gtest/gtest.h>

#include <string>

namespace thinkwire {
namespace {

constexpr const char* kLoopback[] = {"127.0.0.1:1",         "127.1.2.3:1",         "127.1:1",
                                     "localhost:1",         "LocalHost:1",         "[::1]:1",
                                     "[0:0:0:0:0:0:0:1]:1", "[::ffff:127.0.0.1]:1"};
constexpr const char* kOthers[] = {
    "0.0.0.0:1",         "[::]:1",       ":1",    "10.0.0.1:1", "localhost.example.org:1",
    "127.example.org:1", "router:50051", "::1:1", "[::2]:1",    "[::ffff:10.0.0.1]:1"};

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
  EXPECT_EQ(CheckListen("", true).message(), "--listen is empty: it needs host:port");
}

}  // namespace
}  // namespace thinkwire

#include "common/dial_address.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace thinkwire {
namespace {

TEST(DialAddress, CompletesWhatPeopleType) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"localhost", "localhost:50051"}, {"localhost:1", "localhost:1"},
      {"10.0.0.1", "10.0.0.1:50051"},   {"::1", "[::1]:50051"},
      {"[::1]", "[::1]:50051"},         {"[::1]:7", "[::1]:7"},
      {"dns:///a:1", "dns:///a:1"},     {"unix:/run/x", "unix:/run/x"},
      {"ipv6:[::1]:1", "ipv6:[::1]:1"},
  };
  for (const auto& [typed, expected] : cases) {
    const auto address = DialAddress("router", typed, 50051);
    ASSERT_TRUE(address.ok()) << address.status();
    EXPECT_EQ(*address, expected);
  }
}

TEST(DialAddress, RefusesUrlsAndWhatIsMalformed) {
  EXPECT_EQ(DialAddress("router", "http://localhost:50051", 1).status().message(),
            "--router: 'http://localhost:50051' is a URL; gRPC wants host:port, without a scheme");
  for (const char* address :
       {"", ":1", "host:", "host:x", "host:0", "host:65536", "host/path", "a b", "[::1", "[]:1"}) {
    EXPECT_FALSE(DialAddress("router", address, 1).ok()) << address;
  }
  EXPECT_EQ(DialAddress("router", "host:x", 1).status().message(),
            "--router: 'host:x' is neither a host nor host:port");
}

}  // namespace
}  // namespace thinkwire

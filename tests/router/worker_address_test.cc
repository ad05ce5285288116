#include "router/worker_address.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace thinkwire::router {
namespace {

TEST(IsWorkerAddress, WantsHostAndPort) {
  for (const char* good : {"h:1", "10.0.0.1:65535", "[::1]:50061", "a.example.org.:00080",
                           "[fe80::1%eth0]:1", "worker_1:50061"}) {
    EXPECT_TRUE(IsWorkerAddress(good)) << good;
  }
  for (const char* bad :
       {"", ":", "h", ":1", "h:", "h:0", "h:65536", "h:-1", "h:+1", "h: 1", "h\n:1", "::1:50061",
        "[]:1", "[h]:1", "[::1:1", "::1]:1", "[[::1]]:1", "dns:///h:1", "h:99999999999999999999"}) {
    EXPECT_FALSE(IsWorkerAddress(bad)) << bad;
  }
}

// Each line's spellings mean one address, and no other line's.
TEST(CanonicalAddress, IsOneForAllSpellingsOfAnAddress) {
  const std::vector<std::vector<std::string>> addresses = {
      {"localhost:1", "LocalHost:1", "localhost.:1", "127.0.0.1:1", "127.1:1", "127.0.0.1:0001",
       "[::1]:1", "[0:0:0::1]:1", "[::ffff:127.0.0.1]:1", "[::FFFF:7f00:1]:1", "0.0.0.0:1",
       "[::]:1", "a.localhost:1", "ip6-localhost:1"},
      {"localhost:2", "127.0.0.1:2"},
      {"127.0.0.2:1", "[::ffff:127.0.0.2]:1"},
      {"10.0.0.7:50061", "10.0.0.7:050061", "[::ffff:10.0.0.7]:50061"},
      {"gpu.example.org:1", "GPU.Example.org:1", "gpu.example.org.:1"},
      {"[2001:db8::1]:1", "[2001:DB8:0:0::1]:1", "[2001:0db8:0000::0001]:1"},
      {"[2001:db8::2]:1"},
      {"[fe80::1%eth0]:1"},
      {"[fe80::1%eth1]:1"},
      {"localhost.example.org:1"},
  };
  std::vector<std::string> seen;
  for (const auto& spellings : addresses) {
    const std::string canonical = CanonicalAddress(spellings.front());
    for (const std::string& spelling : spellings) {
      ASSERT_TRUE(IsWorkerAddress(spelling)) << spelling;
      EXPECT_EQ(CanonicalAddress(spelling), canonical) << spelling;
    }
    for (const std::string& other : seen) EXPECT_NE(canonical, other);
    seen.push_back(canonical);
  }
}

TEST(NamedAddress, IsOneThatHasToBeLookedUp) {
  const auto named = ReadNamedAddress("Workers.Example.ORG.:050061");
  ASSERT_TRUE(named.has_value());
  EXPECT_EQ(named->host, "workers.example.org");
  EXPECT_EQ(named->port, 50061);
  for (const char* address : {"10.0.0.7:1", "127.1:1", "[2001:db8::1]:1", "[fe80::1%eth0]:1",
                              "localhost:1", "a.localhost.:1", "0.0.0.0:1"}) {
    EXPECT_FALSE(ReadNamedAddress(address).has_value()) << address;
  }
}

}  // namespace
}  // namespace thinkwire::router

#include "router/cache_salt.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace thinkwire::router {
namespace {

// A worker may have blocks of a router of yesterday, so the value itself is fixed: this is
// `printf '8:10.0.0.76:secret' | sha256sum`.
TEST(WorkerCacheSalt, IsTheSameOfEveryRouter) {
  EXPECT_EQ(WorkerCacheSalt("10.0.0.7", "secret"),
            "4e259edb35fe2bf6065b0eb4c83ff4160a949ddc39a75d71e45a4fcc3bbf1200");
}

TEST(WorkerCacheSalt, IsAnothersForNoOtherPair) {
  std::set<std::string> salts;
  const std::string owners[] = {"", "1", "10.0.0.7", "10.0.0.76:", "2001:db8::/64"};
  const std::string given[] = {"", "a", "6:", "1:a", std::string(256, 'x'), std::string(1, '\0')};
  for (const std::string& owner : owners) {
    for (const std::string& salt : given) salts.insert(WorkerCacheSalt(owner, salt));
  }
  EXPECT_EQ(salts.size(), std::size(owners) * std::size(given));
  for (const std::string& salt : salts) EXPECT_EQ(salt.size(), 64u);
}

}  // namespace
}  // namespace thinkwire::router

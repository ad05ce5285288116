#include "router/cache_salt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"

namespace thinkwire::router {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr char kKey[] = "a key of 16 bytes";

// A worker may have blocks of a router of yesterday, so the value itself is fixed: this is
// `printf '8:10.0.0.76:secret' | openssl dgst -sha256 -hmac 'a key of 16 bytes'`.
TEST(CacheSalts, AreTheSameOfEveryRouterOfTheKey) {
  EXPECT_EQ(CacheSalts(kKey).For("10.0.0.7", "secret"),
            "d0c9d94c3a6cb1db6fa04174ec42c8b60811f4221b9151394a9c511db6eea45d");
}

TEST(CacheSalts, AreAnothersForNoOtherPair) {
  const CacheSalts salts(kKey);
  std::set<std::string> all;
  const std::string owners[] = {"", "1", "10.0.0.7", "10.0.0.76:", "2001:db8::/64"};
  const std::string given[] = {"", "a", "6:", "1:a", std::string(256, 'x'), std::string(1, '\0')};
  for (const std::string& owner : owners) {
    for (const std::string& salt : given) all.insert(salts.For(owner, salt));
  }
  EXPECT_EQ(all.size(), std::size(owners) * std::size(given));
  for (const std::string& salt : all) EXPECT_EQ(salt.size(), 64u);
}

TEST(CacheSalts, AreNotGuessedWithoutTheKey) {
  const std::string salt = CacheSalts(kKey).For("10.0.0.7", "");
  EXPECT_NE(salt, CacheSalts("a key of 17 bytes").For("10.0.0.7", ""));
  const CacheSalts drawn = CacheSalts::OfRandomKey();
  EXPECT_EQ(drawn.For("10.0.0.7", ""), drawn.For("10.0.0.7", ""));
  EXPECT_NE(drawn.For("10.0.0.7", ""), CacheSalts::OfRandomKey().For("10.0.0.7", ""));
}

class CacheSaltKeyFileTest : public testing::Test {
 protected:
  ~CacheSaltKeyFileTest() override { std::filesystem::remove(path_); }

  void Write(const std::string& bytes) const { std::ofstream(path_, std::ios::binary) << bytes; }
  std::string Refusal() const {
    const auto salts = CacheSalts::OfKeyFile(path_);
    EXPECT_FALSE(salts.ok());
    EXPECT_THAT(std::string(salts.status().message()), StartsWith(path_ + ": "));
    return std::string(salts.status().message());
  }

  const std::string path_ = absl::StrCat(testing::TempDir(), "salt-key-", getpid());
};

TEST_F(CacheSaltKeyFileTest, EveryByteCounts) {
  for (const std::string& key :
       {std::string(16, '\0'), std::string(1024, 'k'), std::string("sixteen or more\n"),
        std::string("sixteen or more ")}) {
    Write(key);
    const auto salts = CacheSalts::OfKeyFile(path_);
    ASSERT_TRUE(salts.ok()) << salts.status();
    EXPECT_EQ(salts->For("10.0.0.7", ""), CacheSalts(key).For("10.0.0.7", ""));
  }
}

TEST_F(CacheSaltKeyFileTest, RefusesKeysOutOfRangeAndShowsNothingOfThem) {
  Write("fifteen-bytes-x");
  EXPECT_THAT(Refusal(), HasSubstr("has 15 bytes; a key needs 16 to 1024"));
  EXPECT_THAT(Refusal(), Not(HasSubstr("fifteen")));
  Write(std::string(1025, 'k'));
  EXPECT_THAT(Refusal(), HasSubstr("1024"));
  std::filesystem::remove(path_);
  EXPECT_EQ(CacheSalts::OfKeyFile(path_).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace thinkwire::router

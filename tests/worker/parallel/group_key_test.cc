#include "worker/parallel/group_key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>

namespace thinkwire::worker::parallel {
namespace {

using testing::EndsWith;

std::string FileOf(const std::string& bytes) {
  std::string path = testing::TempDir() + "group_token";
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

TEST(GroupKeyTest, SignsAsRfc4231Says) {
  // Test case 6: a key longer than a block, so that it is hashed first.
  const GroupKey key(std::string(131, '\xaa'));
  const std::string signature = key.Sign("Test Using Larger Than Block-Size Key - Hash Key First");
  ASSERT_EQ(signature.size(), kSignatureBytes);
  EXPECT_EQ(signature.substr(0, 8), std::string("\x60\xe4\x31\x59\x1e\xe0\xb6\x7f", 8));
}

TEST(GroupKeyTest, KnowsItsOwnSignatureOfThisText) {
  const GroupKey key("sixteen bytes or more");
  const std::string signature = key.Sign("text");
  EXPECT_TRUE(key.HasSigned("text", signature));
  EXPECT_FALSE(key.HasSigned("texts", signature));
  EXPECT_FALSE(key.HasSigned("text", signature.substr(1)));
  EXPECT_FALSE(key.HasSigned("text", ""));
  EXPECT_FALSE(GroupKey("sixteen bytes or less").HasSigned("text", signature));
}

TEST(GroupKeyTest, ReadsAFileWithoutItsLineEnd) {
  const auto key = GroupKey::Read(FileOf("sixteen bytes or more\r\n"));
  ASSERT_TRUE(key.ok()) << key.status();
  EXPECT_TRUE(key->HasSigned("text", GroupKey("sixteen bytes or more").Sign("text")));
}

TEST(GroupKeyTest, RefusesATokenThatCanBeGuessed) {
  EXPECT_THAT(std::string(GroupKey::Read(FileOf("fifteen bytes..\n")).status().message()),
              EndsWith("has 15 bytes; a group's token needs 16 to 4096"));
  EXPECT_TRUE(absl::IsNotFound(GroupKey::Read(testing::TempDir() + "no token").status()));
}

TEST(GroupKeyTest, DrawsEachNonceAnew) { EXPECT_NE(NewNonce(), NewNonce()); }

}  // namespace
}  // namespace thinkwire::worker::parallel

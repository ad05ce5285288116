#include "worker/text/byte_level.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

namespace thinkwire::worker::text {
namespace {

TEST(ByteLevel, SpellsEveryByte) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string bytes(1, static_cast<char>(byte));
    EXPECT_EQ(BytesFromSpelling(SpellBytes(bytes)), bytes);
  }
  EXPECT_EQ(SpellBytes(" a\n\r\t"), "ĠaĊčĉ");
  EXPECT_EQ(BytesFromSpelling("｜"), std::nullopt);
  EXPECT_EQ(BytesFromSpelling("a b"), std::nullopt);
}

}  // namespace
}  // namespace thinkwire::worker::text

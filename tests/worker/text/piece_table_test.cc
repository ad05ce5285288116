#include "worker/text/piece_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

namespace thinkwire::worker::text {
namespace {

PieceTable::Entry MakeEntry(std::uint32_t id) {
  return {.id = id, .direct = id % 2, .direct_in_message = id % 3 == 0};
}

TEST(PieceTable, FindsWhatWasInsertedAndNothingElse) {
  std::mt19937 random(1);
  // Few letters, so that keys of every length differ in single bytes.
  const auto random_bytes = [&] {
    std::string bytes(1 + random() % 30, 'a');
    for (char& byte : bytes) byte = static_cast<char>("ab\0\xFF"[random() % 4]);
    return bytes;
  };
  std::map<std::string, std::uint32_t> expected;
  while (expected.size() < 20'000) expected.emplace(random_bytes(), expected.size());
  PieceTable table(expected.size());
  for (const auto& [bytes, id] : expected) table.Insert(bytes, MakeEntry(id));
  for (const auto& [bytes, id] : expected) {
    const PieceTable::Entry* entry = table.Find(bytes);
    ASSERT_NE(entry, nullptr) << testing::PrintToString(bytes);
    EXPECT_EQ(entry->id, id);
    EXPECT_EQ(entry->direct, MakeEntry(id).direct);
    EXPECT_EQ(entry->direct_in_message, MakeEntry(id).direct_in_message);
  }
  for (int i = 0; i < 20'000; ++i) {
    const std::string bytes = random_bytes();
    EXPECT_EQ(table.Find(bytes) != nullptr, expected.contains(bytes))
        << testing::PrintToString(bytes);
  }
}

TEST(PieceTable, AnEmptyOneFindsNothing) {
  EXPECT_EQ(PieceTable().Find("a"), nullptr);
  EXPECT_EQ(PieceTable().Find("longer than a word"), nullptr);
  EXPECT_EQ(PieceTable().Find(""), nullptr);
}

}  // namespace
}  // namespace thinkwire::worker::text

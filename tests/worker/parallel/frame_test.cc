#include "worker/parallel/frame.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <string>

namespace thinkwire::worker::parallel {
namespace {

std::string HeadOf(std::string_view payload) {
  const auto head = EncodeFrameHead(FrameKind::kPart, 77, payload);
  return {head.data(), head.size()};
}

TEST(FrameTest, ReadsWhatItWrote) {
  const auto head = DecodeFrameHead(HeadOf("sums"), 4);
  ASSERT_TRUE(head.ok()) << head.status();
  EXPECT_EQ(head->kind, FrameKind::kPart);
  EXPECT_EQ(head->length, 4U);
  EXPECT_EQ(head->step, 77U);
  EXPECT_TRUE(CheckFrame(*head, "sums").ok());
}

TEST(FrameTest, SaysWhatIsLongerThanCanCome) {
  EXPECT_EQ(DecodeFrameHead(HeadOf("sums"), 3).status().message(),
            "announced a frame of 4 bytes, where at most 3 can come");
}

TEST(FrameTest, RefusesAHeadThatIsCutOrLonger) {
  const std::string head = HeadOf("sums");
  for (std::size_t length = 0; length < head.size(); ++length) {
    EXPECT_FALSE(DecodeFrameHead(head.substr(0, length), 4).ok()) << length;
  }
  EXPECT_FALSE(DecodeFrameHead(head + "x", 4).ok());
}

TEST(FrameTest, NoticesEachBitThatFlips) {
  const std::string frame = HeadOf("sums") + "sums";
  for (std::size_t bit = 0; bit < 8 * frame.size(); ++bit) {
    std::string flipped = frame;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    const auto head = DecodeFrameHead(flipped.substr(0, kFrameHeadBytes), 4);
    EXPECT_FALSE(head.ok() && CheckFrame(*head, flipped.substr(kFrameHeadBytes)).ok()) << bit;
  }
}

TEST(FrameTest, NamesAVersionOfAnother) {
  std::string head = HeadOf("sums");
  head[3] = 2;
  EXPECT_EQ(DecodeFrameHead(head, 4).status().message(),
            "does not speak this version of a group's frames");
}

}  // namespace
}  // namespace thinkwire::worker::parallel

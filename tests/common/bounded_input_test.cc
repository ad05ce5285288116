#include "common/bounded_input.h"

#include <gtest/gtest.h>

#include <sstream>
#include <string>

namespace thinkwire {
namespace {

TEST(BoundedInput, ReadsLinesWithAndWithoutALastEnd) {
  std::istringstream in("one\n\nthree");
  std::string line;
  for (const char* expected : {"one", "", "three"}) {
    EXPECT_TRUE(*ReadLine(in, 5, line));
    EXPECT_EQ(line, expected);
  }
  EXPECT_FALSE(*ReadLine(in, 5, line));
}

TEST(BoundedInput, RefusesWhatIsTooLongAndReadsNoMoreOfIt) {
  std::istringstream in("123456789");
  std::string line;
  EXPECT_EQ(ReadLine(in, 5, line).status(), absl::InvalidArgumentError("more than 5 bytes"));
  EXPECT_EQ(in.tellg(), 6);
  std::istringstream all("a\nb");
  EXPECT_EQ(*ReadToEnd(all, 3), "a\nb");
  all = std::istringstream("a\nbc");
  EXPECT_EQ(ReadToEnd(all, 3).status(), absl::InvalidArgumentError("more than 3 bytes"));
}

}  // namespace
}  // namespace thinkwire

#include "router/decision/variant_names.h"

#include <gtest/gtest.h>

namespace thinkwire::router::decision {
namespace {

TEST(KnownAliases, NoAliasMeansTwoVariants) {
  const char* names[] = {"qwen-1.5b", "qwen-7b",   "llama-8b", "qwen-14b",
                         "qwen-32b",  "llama-70b", "r1-671b"};
  for (const char* one : names) {
    EXPECT_FALSE(KnownAliases(one).empty());
    for (const std::string& alias : KnownAliases(one)) {
      EXPECT_EQ(WhyAmbiguous(alias), "");
      for (const char* other : names) {
        if (other == one) continue;
        for (const std::string& theirs : KnownAliases(other)) {
          EXPECT_FALSE(MatchesAlias(alias, theirs)) << alias << " " << theirs;
        }
      }
    }
  }
  EXPECT_TRUE(KnownAliases("tiny-r1").empty());
}

}  // namespace
}  // namespace thinkwire::router::decision

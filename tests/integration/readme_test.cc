// The README says what the programs can do.

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <regex>
#include <string>

#include "tests/integration/process.h"

namespace thinkwire::integration {
namespace {

TEST(ReadmeTest, ListsEveryOptionOfEveryProgram) {
  std::ifstream file("README.md");
  const std::string readme((std::istreambuf_iterator<char>(file)),
                           std::istreambuf_iterator<char>());
  for (const char* program : {THINKWIRE_WORKER, THINKWIRE_ROUTER, THINKWIRE_CHAT}) {
    Process process({program, "--help"});
    ASSERT_EQ(process.Wait(), 0) << process.error();
    const std::string help = process.output();
    const std::regex option("\n  --(\\w+)");
    int options = 0;
    for (std::sregex_iterator it(help.begin(), help.end(), option), end; it != end; ++it) {
      ++options;
      const std::regex listed("--" + (*it)[1].str() + "\\b");
      EXPECT_TRUE(std::regex_search(readme, listed)) << program << ": " << (*it)[1];
    }
    EXPECT_GE(options, 7) << help;
  }
}

}  // namespace
}  // namespace thinkwire::integration

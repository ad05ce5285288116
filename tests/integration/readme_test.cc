// The README says what the programs can do.

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <regex>
#include <string>

#include "tests/integration/process.h"
#include "tests/integration/programs.h"

namespace thinkwire::integration {
namespace {

TEST(ReadmeTest, ListsEveryOptionOfEveryProgram) {
  std::ifstream file("README.md");
  const std::string readme((std::istreambuf_iterator<char>(file)),
                           std::istreambuf_iterator<char>());
  for (const char* program : {kWorker, kRouter, kChat}) {
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

TEST(ReadmeTest, EveryProgramTellsItsVersionAndTakesShortHelp) {
  for (const char* program : {kWorker, kRouter, kChat, kBench}) {
    Process version({program, "--version"});
    EXPECT_EQ(version.Wait(), 0) << version.error();
    const std::regex line("thinkwire-\\w+ [0-9.]+ \\(commit ([0-9a-f]{12}|unknown)\\)\n");
    EXPECT_TRUE(std::regex_match(version.output(), line)) << version.output();
    Process help({program, "-h"});
    EXPECT_EQ(help.Wait(), 0) << help.error();
    EXPECT_NE(help.output().find("--help"), std::string::npos) << help.output();
  }
}

}  // namespace
}  // namespace thinkwire::integration

#include "tests/bench/tokenize_command.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace thinkwire::bench {
namespace {

constexpr char kModel[] = "tests/data/tokenizers/qwen-small";

int RunTokenize(const std::vector<const char*>& arguments) { return RunTokenizeCommand(arguments); }

TEST(TokenizeCommand, TimesLoadingTextsAndHostileInputs) {
  testing::internal::CaptureStdout();
  EXPECT_EQ(RunTokenize({"--model", kModel, "--text", "README.md", "--hostile_bytes", "400",
                         "--repetitions", "1"}),
            0);
  const std::string out = testing::internal::GetCapturedStdout();
  EXPECT_NE(out.find("load: "), std::string::npos) << out;
  EXPECT_NE(out.find("README.md"), std::string::npos) << out;
  EXPECT_NE(out.find("accents out of order"), std::string::npos) << out;
}

TEST(TokenizeCommand, TellsWrongOptionsFromFailures) {
  EXPECT_EQ(RunTokenize({}), 78);
  EXPECT_EQ(RunTokenize({"--model", kModel, "--repetitions", "0"}), 78);
  EXPECT_EQ(RunTokenize({"--model", kModel, "--no_such_option", "1"}), 78);
  EXPECT_EQ(RunTokenize({"--model", "no/such/folder"}), 1);
  EXPECT_EQ(RunTokenize({"--model", kModel, "--text", "no/such/file"}), 1);
}

}  // namespace
}  // namespace thinkwire::bench

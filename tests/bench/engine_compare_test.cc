#include "tests/bench/engine_compare.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/bench/engine_options.h"

namespace thinkwire::bench {
namespace {

std::string Report(double tokens_per_second, int sequences = 16) {
  return absl::StrCat(R"({"fingerprint": "f", "figures": [{"kind": "decode", "sequences": )",
                      sequences, R"(, "prompt_tokens": 512, "tokens_per_second": )",
                      tokens_per_second, "}]}");
}

TEST(EngineCompareTest, RunsBothInTurnAndSwapsEverySecondPair) {
  std::vector<std::string> order;
  const auto pairs = RunPairs("old", "new", 3, [&](const std::string& program) {
    order.push_back(program);
    return absl::StatusOr<std::string>(Report(program == "old" ? 100 : 110));
  });
  ASSERT_TRUE(pairs.ok()) << pairs.status();
  EXPECT_EQ(order, (std::vector<std::string>{"old", "new", "new", "old", "old", "new"}));
  for (const RunPair& pair : *pairs) {
    EXPECT_EQ(pair.before.rates[0].tokens_per_second, 100);
    EXPECT_EQ(pair.after.rates[0].tokens_per_second, 110);
  }
}

TEST(EngineCompareTest, TakesRatiosWithinPairs) {
  std::vector<RunPair> pairs;
  for (const auto& [before, after] :
       std::vector<std::pair<double, double>>{{100, 110}, {200, 210}, {400, 360}}) {
    pairs.push_back({{"f", {{"decode 16 x 512", before}}}, {"g", {{"decode 16 x 512", after}}}});
  }
  const auto figures = CompareRuns(pairs);
  ASSERT_TRUE(figures.ok()) << figures.status();
  ASSERT_EQ(figures->size(), 1u);
  EXPECT_EQ(figures->front().before, 200);
  EXPECT_EQ(figures->front().after, 210);
  EXPECT_DOUBLE_EQ(figures->front().ratio, 1.05);
  EXPECT_DOUBLE_EQ(figures->front().lowest, 0.9);
  EXPECT_DOUBLE_EQ(figures->front().highest, 1.1);
  const std::string table = CompareTable(pairs, *figures);
  EXPECT_NE(table.find("after: fingerprint g\n"), table.npos) << table;
  EXPECT_NE(table.find("1.050     0.900-1.100\n"), table.npos) << table;
}

TEST(EngineCompareTest, TakesTheMeanOfTheTwoInTheMiddle) {
  const std::vector<RunPair> pairs = {
      {{"f", {{"prefill 2 x 8", 100}}}, {"f", {{"prefill 2 x 8", 90}}}},
      {{"f", {{"prefill 2 x 8", 100}}}, {"f", {{"prefill 2 x 8", 130}}}}};
  const auto figures = CompareRuns(pairs);
  ASSERT_TRUE(figures.ok()) << figures.status();
  EXPECT_DOUBLE_EQ(figures->front().ratio, 1.1);
  EXPECT_DOUBLE_EQ(figures->front().after, 110);
}

TEST(EngineCompareTest, RefusesRunsOfDifferentFigures) {
  const auto before = ReadRatedRun(Report(100, 16));
  const auto after = ReadRatedRun(Report(100, 8));
  ASSERT_TRUE(before.ok() && after.ok());
  EXPECT_EQ(CompareRuns({{*before, *after}}).status().message(),
            "the two builds do not print the same figures");
}

TEST(EngineCompareTest, RefusesWhatIsNoReport) {
  for (const char* text :
       {"", "[]", R"({"fingerprint": "f"})", R"({"fingerprint": 1, "figures": []})",
        R"({"fingerprint": "f", "figures": [{"kind": "decode"}]})"}) {
    EXPECT_EQ(ReadRatedRun(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_FALSE(ReadRatedRun(Report(0)).ok());
}

TEST(EngineCompareTest, HandsOnWhatIsNotTheDefault) {
  EngineBenchOptions options;
  EXPECT_TRUE(ArgumentsOf(options).empty());
  options.model = "qwen-7b";
  options.batch = {1, 64};
  options.context = {};
  options.seed = 7;
  const std::vector<std::string> arguments = ArgumentsOf(options);
  EXPECT_EQ(arguments, (std::vector<std::string>{"--model=qwen-7b", "--seed=7", "--batch=1,64",
                                                 "--context="}));
  std::vector<const char*> pointers;
  for (const std::string& argument : arguments) pointers.push_back(argument.c_str());
  const auto parsed = ParseEngineOptions(pointers);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->batch, options.batch);
  EXPECT_TRUE(parsed->context.empty());
}

TEST(EngineCompareTest, SaysHowAProgramEnded) {
  const RunProgram run = ProcessWith({});
  EXPECT_EQ(run("/bin/false").status().message(), "/bin/false ended with status 1");
  EXPECT_EQ(run("/no/such/file").status().message(),
            "cannot start /no/such/file: No such file or directory");
  EXPECT_FALSE(ReadRatedRun(run("/bin/true").value()).ok());
}

TEST(EngineCompareTest, WritesNoFileOfTwoBuilds) {
  const std::vector<const char*> arguments = {"--compare=/bin/true", "--json=figures.json"};
  EXPECT_EQ(ParseEngineOptions(arguments).status().message(),
            "--json is for the figures of one build, not for --compare");
}

}  // namespace
}  // namespace thinkwire::bench

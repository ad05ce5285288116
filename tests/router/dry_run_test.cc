#include "router/dry_run.h"

#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace thinkwire::router {
namespace {

using Json = nlohmann::json;

constexpr char kConfig[] = R"(variants:
  - {name: qwen-1.5b, workers: ["a:1", "b:1"], escalate_to: qwen-32b}
  - {name: qwen-32b, workers: ["c:1"]}
)";

class DryRunTest : public testing::Test {
 protected:
  absl::Status Run(const std::string& trace) {
    const std::string path = absl::StrCat(testing::TempDir(), "dry_run_test-", getpid(), ".jsonl");
    std::ofstream(path) << trace;
    const absl::Status status =
        DryRun(*ParseConfig(kConfig, "r"), path,
               [&](const std::string& line) { said_.push_back(Json::parse(line)); });
    std::filesystem::remove(path);
    return status;
  }

  std::vector<Json> said_;
};

std::string Line(const std::string& text, const std::string& more = "") {
  return R"({"request": {"prompt": {"chat": {"messages": [{"role": "ROLE_USER", "content": ")" +
         text + R"("}]}})" + more + "}}\n";
}

TEST_F(DryRunTest, SaysWhatIsDecidedForEachLineAndWhy) {
  ASSERT_TRUE(
      Run(Line("Solve for x: 3x + 2 = 8") + "\n" +
          Line("Hello", R"(, "variant": "qwen-1.5b", "thinking": {"mode": "THINKING_MODE_OFF"})"))
          .ok());
  ASSERT_EQ(said_.size(), 2U);
  EXPECT_EQ(said_[0]["line"], 1);
  EXPECT_EQ(said_[0]["variant"], "qwen-32b");
  EXPECT_EQ(said_[0]["worker"], "c:1");
  EXPECT_EQ(said_[0]["cause"], "score");
  EXPECT_EQ(said_[0]["task"], "math");
  EXPECT_EQ(said_[0]["thinking_p50"], 6000);
  EXPECT_EQ(said_[0]["thinking_p90"], 15'000);
  EXPECT_THAT(said_[0]["variant_reason"].get<std::string>(),
              testing::HasSubstr("math (by its text)"));
  EXPECT_EQ(said_[1]["line"], 3);
  EXPECT_EQ(said_[1]["cause"], "named");
  EXPECT_EQ(said_[1]["worker_reason"],
            "the one of 2 live ones that is through first: 0 queued, 0 running");
  EXPECT_FALSE(said_[1].contains("thinking_p50"));
}

TEST_F(DryRunTest, TellsWhereItWouldBeginAnew) {
  const std::string may = R"(, "wishes": {"may_substitute": true})";
  const std::string named = R"(, "variant": "qwen-1.5b")";
  const std::string better = R"(, "variant": "qwen-32b")";
  ASSERT_TRUE(
      Run(Line("Hello", named + may) + Line("Hello", named) + Line("Hello", better + may)).ok());
  EXPECT_EQ(said_[0]["escalates_to"], "qwen-32b");
  EXPECT_FALSE(said_[1].contains("escalates_to")) << "it may not";
  EXPECT_FALSE(said_[2].contains("escalates_to")) << "there is no better one";
}

TEST_F(DryRunTest, EqualWorkersTakeTurns) {
  const std::string named = Line("Hello", R"(, "variant": "qwen-1.5b")");
  ASSERT_TRUE(Run(named + named + named).ok());
  EXPECT_EQ(said_[0]["worker"], "a:1");
  EXPECT_EQ(said_[1]["worker"], "b:1");
  EXPECT_EQ(said_[2]["worker"], "a:1");
}

TEST_F(DryRunTest, AConversationGoesBackToWhereItWas) {
  const std::string named = R"(, "variant": "qwen-1.5b")";
  const std::string question(400, 'x');
  const std::string other(400, 'y');
  ASSERT_TRUE(Run(Line(question, named) + Line(other, named) + Line(other, named)).ok());
  EXPECT_EQ(said_[0]["worker"], "a:1");
  EXPECT_EQ(said_[1]["worker"], "b:1");
  EXPECT_EQ(said_[2]["worker"], "b:1");
  EXPECT_THAT(said_[2]["worker_reason"].get<std::string>(),
              testing::HasSubstr("tokens of this conversation"));
}

TEST_F(DryRunTest, ADeadlineCounts) {
  ASSERT_TRUE(Run(R"({"deadline_s": 0.5, "request": {"prompt": {"text": "Prove it."}}})").ok());
  EXPECT_EQ(said_[0]["cause"], "deadline");
}

TEST_F(DryRunTest, RefusalsAreDecisionsToo) {
  ASSERT_TRUE(Run(Line("Hello", R"(, "variant": "gpt")") + R"({"request": {}})").ok());
  EXPECT_EQ(said_[0]["code"], "NOT_FOUND");
  EXPECT_THAT(said_[0]["message"].get<std::string>(), testing::HasSubstr("there is qwen-1.5b"));
  EXPECT_EQ(said_[1]["code"], "INVALID_ARGUMENT");
}

TEST_F(DryRunTest, TellsTheLineThatIsNone) {
  for (const char* wrong :
       {"[]", "{}", "no JSON", R"({"request": {"promt": {}}})", R"({"request": {}, "at": 1})",
        R"({"request": {}, "deadline_s": "1"})"}) {
    said_.clear();
    const absl::Status status = Run(Line("Hello") + wrong + "\n" + Line("Hello"));
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << wrong;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(".jsonl:2")) << wrong;
    EXPECT_EQ(said_.size(), 1U);
  }
}

TEST_F(DryRunTest, SaysThatThereIsNoFile) {
  EXPECT_TRUE(absl::IsNotFound(DryRun({}, "/nowhere/trace.jsonl", [](const std::string&) {})));
}

}  // namespace
}  // namespace thinkwire::router

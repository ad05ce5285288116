#include "router/client/question_reader.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace thinkwire::router::client {
namespace {

using Kind = Said::Kind;

// What the first Read says of `lines`, with what was asked before each.
Said Read(std::vector<Line> lines, std::string* prompts = nullptr) {
  std::size_t next = 0;
  QuestionReader reader([&](const std::string& prompt) {
    if (prompts != nullptr) *prompts += prompt;
    return next < lines.size() ? lines[next++] : Line{};
  });
  return reader.Read();
}

Said Read(const std::vector<std::string>& texts, std::string* prompts = nullptr) {
  std::vector<Line> lines;
  for (const std::string& text : texts) lines.push_back({Line::Kind::kText, text});
  return Read(std::move(lines), prompts);
}

TEST(QuestionReaderTest, TellsQuestionsFromCommands) {
  const std::vector<std::pair<std::string, std::pair<Kind, std::string>>> cases = {
      {" What is this? ", {Kind::kQuestion, "What is this?"}},
      {"one\n\ntwo\n", {Kind::kQuestion, "one\n\ntwo"}},
      {" \t ", {Kind::kNothing, ""}},
      {"/set seed 7 ", {Kind::kCommand, "set seed 7"}},
      {" /set", {Kind::kQuestion, "/set"}},
      {"/etc/passwd\nand more", {Kind::kQuestion, "/etc/passwd\nand more"}},
      {"\"\"\"in\nquotes\"\"\"", {Kind::kQuestion, "in\nquotes"}},
      {"\"\"\"\"\"\"", {Kind::kNothing, ""}},
  };
  for (const auto& [line, expected] : cases) {
    const Said said = Read({line});
    EXPECT_EQ(std::pair(said.kind, said.text), expected) << line;
  }
}

TEST(QuestionReaderTest, ReadsBlocksToTheirEnd) {
  std::string prompts;
  const Said said = Read({"\"\"\"one", "", "  /two", "three \"\"\" "}, &prompts);
  EXPECT_EQ(said.kind, Kind::kQuestion);
  EXPECT_EQ(said.text, "one\n\n  /two\nthree");
  EXPECT_EQ(prompts, "> ... ... ... ");
}

TEST(QuestionReaderTest, EndsAndAbandonsBlocksToo) {
  const Line begin = {Line::Kind::kText, "\"\"\"one"};
  EXPECT_EQ(Read(std::vector<Line>{begin, {Line::Kind::kAbandoned, "x"}}).kind, Kind::kAbandoned);
  EXPECT_EQ(Read(std::vector<Line>{begin, {Line::Kind::kEnd, ""}}).kind, Kind::kEnd);
  EXPECT_EQ(Read(std::vector<Line>{{Line::Kind::kAbandoned, "x"}}).text, "x");
  EXPECT_EQ(Read(std::vector<Line>{}).kind, Kind::kEnd);
}

}  // namespace
}  // namespace thinkwire::router::client

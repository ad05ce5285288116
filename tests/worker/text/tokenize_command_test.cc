#include "worker/text/tokenize_command.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "tests/worker/text/test_tokenizer.h"

namespace thinkwire::worker::text {
namespace {

struct Outcome {
  absl::Status status;
  std::string out;
};

Outcome RunLines(const std::string& lines, bool as_user_text = false) {
  const auto tokenizer = LoadText(TinyTokenizerJson().dump());
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  std::istringstream in(lines);
  std::ostringstream out;
  const absl::Status status = RunTokenize(**tokenizer, as_user_text, in, out);
  return {status, out.str()};
}

TEST(RunTokenize, AnswersLineByLine) {
  const Outcome outcome =
      RunLines("{\"text\": \"abc<s>\"}\n\n{\"text\": \"\", \"id\": 4}\r\n{\"text\":\"a\\u0301\"}");
  EXPECT_TRUE(outcome.status.ok()) << outcome.status;
  EXPECT_EQ(outcome.out, "{\"ids\": [257, 259]}\n{\"ids\": []}\n{\"ids\": [97, 204, 129]}\n");
}

TEST(RunTokenize, AsUserTextYieldsNoControlTokens) {
  EXPECT_EQ(RunLines("{\"text\": \"<s>\"}", true).out, "{\"ids\": [60, 115, 62]}\n");
}

TEST(RunTokenize, ErrorsNameTheLine) {
  const std::string bad[] = {"{",
                             "[]",
                             "{}",
                             R"({"text": 3})",
                             R"({"text": "\ud800"})",
                             R"({"text": "\udc00x"})",
                             "{\"text\": \"\xFF\"}",
                             "{\"text\": \"a\"} x"};
  for (const std::string& line : bad) {
    const Outcome outcome = RunLines("{\"text\": \"a\"}\n" + line + "\n{\"text\": \"b\"}\n");
    EXPECT_EQ(outcome.status.code(), absl::StatusCode::kInvalidArgument) << line;
    EXPECT_EQ(std::string(outcome.status.message()).find("line 2 "), 0U) << outcome.status;
    EXPECT_EQ(outcome.out, "{\"ids\": [97]}\n") << line;
  }
}

TEST(RunTokenize, RefusesALineWithoutAnEnd) {
  EXPECT_EQ(RunLines(std::string((8 << 20) + 1, ' ')).status,
            absl::InvalidArgumentError("line 1: more than 8388608 bytes"));
}

TEST(RunTokenize, SaysWhyItCannotWrite) {
  const auto tokenizer = LoadText(TinyTokenizerJson().dump());
  std::istringstream in("{\"text\": \"a\"}\n");
  std::ofstream out("/dev/full");
  EXPECT_EQ(RunTokenize(**tokenizer, /*as_user_text=*/false, in, out),
            absl::UnavailableError("cannot write the answer to line 1: No space left on device"));
}

}  // namespace
}  // namespace thinkwire::worker::text

#include "router/client/question_reader.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace thinkwire::router::client {
namespace {

constexpr char kQuotes[] = "\"\"\"";

std::string Stripped(const std::string& text) {
  return std::string(absl::StripAsciiWhitespace(text));
}

Said Question(const std::string& text) {
  std::string stripped = Stripped(text);
  if (stripped.empty()) return {.kind = Said::Kind::kNothing};
  return {.kind = Said::Kind::kQuestion, .text = std::move(stripped)};
}

}  // namespace

QuestionReader::QuestionReader(ReadLine read_line) : read_line_(std::move(read_line)) {}

Said QuestionReader::Read() {
  Line line = read_line_("> ");
  if (line.kind == Line::Kind::kEnd) return {};
  if (line.kind == Line::Kind::kAbandoned) {
    return {.kind = Said::Kind::kAbandoned, .text = std::move(line.text)};
  }
  const std::string stripped = Stripped(line.text);
  if (absl::StartsWith(stripped, kQuotes)) return ReadBlock(stripped.substr(3));
  if (absl::StartsWith(line.text, "/") && !absl::StrContains(stripped, '\n')) {
    return {.kind = Said::Kind::kCommand, .text = stripped.substr(1)};
  }
  return Question(line.text);
}

Said QuestionReader::ReadBlock(std::string text) {
  while (!absl::EndsWith(text, kQuotes)) {
    const Line line = read_line_("... ");
    if (line.kind == Line::Kind::kEnd) return {};
    if (line.kind == Line::Kind::kAbandoned) {
      return {.kind = Said::Kind::kAbandoned, .text = std::move(text)};
    }
    absl::StrAppend(&text, "\n", absl::StripTrailingAsciiWhitespace(line.text));
  }
  return Question(text.substr(0, text.size() - 3));
}

}  // namespace thinkwire::router::client

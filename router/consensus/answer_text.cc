#include "router/consensus/answer_text.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "common/strings.h"

namespace thinkwire::router::consensus {
namespace {

constexpr std::size_t kNone = std::string_view::npos;
constexpr std::string_view kBlanks = " \t\r\n";

// Finds the last box of a text in one pass.
class BoxSearch {
 public:
  explicit BoxSearch(std::string_view text) : text_(text) {}

  std::optional<std::string_view> Last() {
    while (at_ < text_.size()) Step();
    return last_;
  }

 private:
  struct Open {
    std::size_t begin;  // of what stands in it
    std::size_t depth;  // of braces around it
  };

  void Step() {
    const char c = text_[at_];
    if (c == '\\') return Command();
    if (c == '{') ++depth_;
    if (c == '}') Close();
    ++at_;
  }

  // A box begins, or a character is escaped.
  void Command() {
    for (const std::string_view name : {"\\boxed", "\\fbox"}) {
      if (text_.compare(at_, name.size(), name) != 0) continue;
      at_ = std::min(text_.find_first_not_of(kBlanks, at_ + name.size()), text_.size());
      return Begin();
    }
    at_ += 2;
  }

  void Begin() {
    if (at_ == text_.size() || std::string_view("$}").find(text_[at_]) != kNone) return;
    if (text_[at_] == '{') {
      open_.push_back({.begin = ++at_, .depth = depth_++});
      return;
    }
    const std::size_t end = std::min(text_.find_first_of(" \t\r\n$", at_), text_.size());
    Keep(at_, end);
    at_ = end;
  }

  void Close() {
    if (depth_ == 0) return;  // one too many in the prose before
    --depth_;
    if (open_.empty() || open_.back().depth != depth_) return;
    Keep(open_.back().begin, at_);
    open_.pop_back();
  }

  // Boxes close from within: the last one is that which began last.
  void Keep(std::size_t begin, std::size_t end) {
    if (last_ && begin < last_begin_) return;
    last_begin_ = begin;
    last_ = text_.substr(begin, end - begin);
  }

  const std::string_view text_;
  std::size_t at_ = 0;
  std::size_t depth_ = 0;
  std::vector<Open> open_;
  std::optional<std::string_view> last_;
  std::size_t last_begin_ = 0;
};

bool HasWord(std::string_view line) {
  return std::ranges::any_of(line,
                             [](unsigned char c) { return absl::ascii_isalnum(c) || c > 127; });
}

std::string_view Strip(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == kNone) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin);
}

bool EqualsLower(std::string_view text, std::size_t at, std::string_view lower) {
  return absl::EqualsIgnoreCase(View(text.substr(at, lower.size())), View(lower));
}

bool IsLetterAt(std::string_view text, std::size_t at) {
  return at < text.size() && absl::ascii_isalpha(static_cast<unsigned char>(text[at]));
}

// Behind the last whole word "answer" or "answers"; kNone: it is not there.
std::size_t BehindAnswerWord(std::string_view line) {
  constexpr std::string_view kWord = "answer";
  for (std::size_t at = line.size() < kWord.size() ? 0 : line.size() - kWord.size() + 1;
       at-- > 0;) {
    if (!EqualsLower(line, at, kWord) || (at > 0 && IsLetterAt(line, at - 1))) continue;
    std::size_t end = at + kWord.size();
    if (EqualsLower(line, end, "s")) ++end;
    if (!IsLetterAt(line, end)) return end;
  }
  return kNone;
}

// Behind the first ':', '=', "is" or "are" from there on; kNone: there is none.
std::size_t BehindMarker(std::string_view line, std::size_t begin) {
  for (std::size_t at = begin; at < line.size(); ++at) {
    if (line[at] == ':' || line[at] == '=') return at + 1;
    if (at > 0 && IsLetterAt(line, at - 1)) continue;
    for (const std::string_view verb : {"is", "are"}) {
      const std::size_t end = at + verb.size();
      if (!EqualsLower(line, at, verb) || IsLetterAt(line, end)) continue;
      const std::size_t next = std::min(line.find_first_not_of(" *", end), line.size());
      return next < line.size() && line[next] == ':' ? next + 1 : end;
    }
  }
  return kNone;
}

// "I hope it is correct." says nothing of the result.
std::string_view WithoutHope(std::string_view line) {
  const auto hope = std::string_view("I hope");
  return line.substr(0, line.find(hope));
}

bool IsGsm8kLine(std::string_view line) {
  absl::string_view rest = View(line);
  if (!absl::ConsumePrefix(&rest, "####")) return false;
  rest = absl::StripLeadingAsciiWhitespace(rest);
  return !rest.empty() && (absl::ascii_isdigit(static_cast<unsigned char>(rest[0])) ||
                           std::string_view("-+$.").find(rest[0]) != kNone);
}

// What a line says after its marker; nullopt: it has none. Empty: the next line says it.
std::optional<std::string_view> Marked(std::string_view line) {
  if (IsGsm8kLine(line)) return line.substr(4);
  line = WithoutHope(line);
  const std::size_t begin = BehindAnswerWord(line);
  if (begin == kNone) return std::nullopt;
  const std::size_t end = BehindMarker(line, begin);
  const std::string_view rest = line.substr(std::min(end, line.size()));
  if (end != kNone && HasWord(rest)) return rest;
  // A heading: "**Final Answer**", "Answer:".
  return HasWord(line.substr(begin)) ? std::nullopt : std::optional<std::string_view>("");
}

// Ends where a line with a word ends, so that the last one is never empty of them.
struct Lines {
  std::string_view last{};
  std::optional<std::string_view> marked{};
};

Lines ReadLines(std::string_view text) {
  Lines lines;
  bool says_next = false;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = Strip(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!HasWord(line)) continue;
    lines.last = line;
    const std::optional<std::string_view> marked = Marked(line);
    if (marked) lines.marked = marked->empty() ? lines.marked : marked;
    if (says_next && !marked) lines.marked = line;
    says_next = marked && marked->empty();
  }
  return lines;
}

}  // namespace

std::string_view FindAnswer(std::string_view text) {
  if (const auto box = BoxSearch(text).Last()) return Strip(*box);
  const Lines lines = ReadLines(text);
  return Strip(lines.marked.value_or(lines.last));
}

}  // namespace thinkwire::router::consensus

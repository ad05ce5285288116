#include "worker/text/template_pieces.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/strings.h"

namespace thinkwire::worker::text {
namespace {

constexpr std::string_view kSpace = " \t\n\v\f\r";

bool IsWord(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || (c & 0x80) != 0;
}

// The string that begins at `at`, quotes included; to the end where nothing closes it.
std::string_view StringAt(std::string_view code, std::size_t at) {
  for (std::size_t end = at + 1; end < code.size(); ++end) {
    if (code[end] == '\\') {
      ++end;
    } else if (code[end] == code[at]) {
      return code.substr(at, end + 1 - at);
    }
  }
  return code.substr(at);
}

std::string NormalString(std::string_view literal) {
  std::string out(literal);
  const std::string_view inner = literal.substr(1, std::max<std::size_t>(literal.size(), 2) - 2);
  if (literal.front() == '"' && inner.find_first_of("'\"\\") == inner.npos) {
    out = absl::StrCat("'", View(inner), "'");
  }
  for (std::size_t at = out.find('\n'); at != out.npos; at = out.find('\n', at)) {
    out.replace(at, 1, "\\n");
  }
  return out;
}

std::string NormalCode(std::string_view code) {
  std::string out;
  bool gap = false;
  for (std::size_t at = 0; at < code.size();) {
    if (kSpace.find(code[at]) != kSpace.npos) {
      gap = true;
      ++at;
      continue;
    }
    if (gap && !out.empty() && IsWord(out.back()) && IsWord(code[at])) out += ' ';
    gap = false;
    const bool quoted = code[at] == '\'' || code[at] == '"';
    const std::string_view part = quoted ? StringAt(code, at) : code.substr(at, 1);
    out += quoted ? NormalString(part) : std::string(part);
    at += part.size();
  }
  return out;
}

// Cuts a template into its pieces, from left to right.
class Cutter {
 public:
  explicit Cutter(std::string_view source) : rest_(source) {
    // As Jinja does without keep_trailing_newline.
    if (rest_.ends_with('\n')) rest_.remove_suffix(1);
  }

  std::vector<std::string> Cut() {
    while (!rest_.empty()) {
      const std::size_t open = FindTag();
      std::string_view text = rest_.substr(0, open);
      rest_.remove_prefix(text.size());
      if (!rest_.empty()) text = TrimBefore(text);
      if (!text.empty()) pieces_.push_back(absl::StrCat("=", View(text)));
      if (!rest_.empty()) CutTag();
    }
    return std::move(pieces_);
  }

 private:
  std::size_t FindTag() const {
    for (std::size_t at = rest_.find('{'); at != rest_.npos; at = rest_.find('{', at + 1)) {
      const std::string_view next = rest_.substr(at + 1, 1);
      if (next == "{" || next == "%" || next == "#") return at;
    }
    return rest_.npos;
  }

  // What the tag, with which the rest begins, leaves of the text before it.
  std::string_view TrimBefore(std::string_view text) const {
    if (rest_.substr(2, 1) == "-") return text.substr(0, text.find_last_not_of(kSpace) + 1);
    if (rest_[1] == '{') return text;
    const std::size_t line = text.rfind('\n') + 1;  // 0 where there is none
    const bool begins_line = line > 0 || at_line_start_;
    const bool blank = text.find_first_not_of(" \t", line) == text.npos;
    return begins_line && blank ? text.substr(0, line) : text;
  }

  // REQUIRES: the rest begins with a tag.
  void CutTag() {
    const char kind = rest_[1];
    rest_.remove_prefix(rest_.substr(2, 1) == "-" ? 3 : 2);
    const std::size_t end = FindEnd(kind);
    std::string_view code = rest_.substr(0, end);
    rest_.remove_prefix(std::min(rest_.size(), code.size() + 2));
    const bool trims = code.ends_with('-');
    if (trims) code.remove_suffix(1);
    if (kind != '#') pieces_.push_back(absl::StrCat(kind == '%' ? "%" : "{", NormalCode(code)));
    TrimAfter(trims, kind);
  }

  // Where `}}`, `%}` or `#}` stands, outside of strings but in comments.
  std::size_t FindEnd(char kind) const {
    const char close = kind == '{' ? '}' : kind;
    for (std::size_t at = 0; at + 1 < rest_.size(); ++at) {
      if (rest_[at] == close && rest_[at + 1] == '}') return at;
      const bool quoted = kind != '#' && (rest_[at] == '\'' || rest_[at] == '"');
      if (quoted) at += StringAt(rest_, at).size() - 1;
    }
    return rest_.npos;
  }

  void TrimAfter(bool trims, char kind) {
    std::size_t gone = 0;
    if (trims) gone = std::min(rest_.find_first_not_of(kSpace), rest_.size());
    if (!trims && kind != '{' && rest_.starts_with('\n')) gone = 1;
    at_line_start_ = gone > 0 && rest_[gone - 1] == '\n';
    rest_.remove_prefix(gone);
  }

  std::string_view rest_;
  bool at_line_start_ = true;
  std::vector<std::string> pieces_;
};

}  // namespace

std::vector<std::string> TemplatePieces(std::string_view source) { return Cutter(source).Cut(); }

}  // namespace thinkwire::worker::text

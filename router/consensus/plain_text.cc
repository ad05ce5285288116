#include "router/consensus/plain_text.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"

namespace thinkwire::router::consensus {
namespace {

using std::string_view;

struct Rule {
  string_view from;
  string_view to;
};

// Commands by name, without the backslash; those that are not here stay.
constexpr auto kCommands = std::to_array<Rule>({
    {"left", ""},         {"right", ""},       {"big", ""},          {"Big", ""},
    {"bigl", ""},         {"bigr", ""},        {"Bigl", ""},         {"Bigr", ""},
    {"bigg", ""},         {"Bigg", ""},        {"displaystyle", ""}, {"textstyle", ""},
    {"limits", ""},       {"quad", " "},       {"qquad", " "},       {"thinspace", ""},
    {"degree", ""},       {"dfrac", "\\frac"}, {"tfrac", "\\frac"},  {"cfrac", "\\frac"},
    {"cdot", "*"},        {"times", "*"},      {"ast", "*"},         {"div", "/"},
    {"leq", "\\le"},      {"geq", "\\ge"},     {"neq", "\\ne"},      {"leqslant", "\\le"},
    {"geqslant", "\\ge"}, {"approx", ""},      {"euro", ""},         {"pounds", ""},
    {"lbrace", "\\{"},    {"rbrace", "\\}"},   {"colon", ":"},       {"dots", "..."},
    {"ldots", "..."},     {"cdots", "..."},    {"land", " and "},    {"lor", " or "},
});

// Commands of one character that is no letter.
constexpr auto kSigns = std::to_array<Rule>({
    {",", ""},
    {"!", ""},
    {";", " "},
    {":", " "},
    {" ", " "},
    {"(", ""},
    {")", ""},
    {"[", ""},
    {"]", ""},
    {"$", ""},
    {"%", ""},
    {"&", "&"},
    {"#", "#"},
    {"_", "_"},
    {"\\", " "},
});

// Around a text, of which they say how it looks.
constexpr auto kStyles = std::to_array<string_view>(
    {"text",         "textbf",     "textit", "textrm", "texttt",    "textsf", "textnormal",
     "mathrm",       "mathbf",     "mathit", "mathsf", "mathtt",    "mbox",   "hbox",
     "operatorname", "boldsymbol", "bm",     "emph",   "underline", "boxed",  "fbox"});

// Parts of the text that no command begins.
constexpr auto kPieces = std::to_array<Rule>({
    {"`", ""},
    {"$", ""},
    {"%", ""},
    {"~", " "},
    {"{,}", ","},
    {"^\\circ", ""},
    {"^{\\circ}", ""},
    {"^\\degree", ""},
    {"^{\\degree}", ""},
    {"\u00b0", ""},
    {"\u20ac", ""},
    {"\u00a3", ""},
    {"\u2212", "-"},
    {"\u2013", "-"},
    {"\u00d7", "*"},
    {"\u00b7", "*"},
    {"\u22c5", "*"},
    {"\u00f7", "/"},
    {"\u00a0", " "},
    {"\u2009", " "},
    {"\u202f", " "},
    {"\u00b2", "^2"},
    {"\u00b3", "^3"},
    {"\u03c0", "\\pi"},
    {"\u221a", "\\sqrt"},
    {"\u221e", "\\infty"},
    {"\u2264", "\\le"},
    {"\u2265", "\\ge"},
    {"\u2260", "\\ne"},
    {"\u2248", ""},
    {"\u2044", "/"},
    {"\u00bd", "\\frac{1}{2}"},
    {"\u00bc", "\\frac{1}{4}"},
    {"\u00be", "\\frac{3}{4}"},
});

bool IsDigit(char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }
bool IsLetter(char c) { return absl::ascii_isalpha(static_cast<unsigned char>(c)); }
// Also of any other script.
bool IsOfWord(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return absl::ascii_isalnum(byte) || byte >= 0x80;
}

template <class Rules>
const Rule* Find(const Rules& rules, string_view name) {
  const auto found = std::ranges::find(rules, name, &Rule::from);
  return found == rules.end() ? nullptr : &*found;
}

// One pass that takes the looks away.
class Undresser {
 public:
  explicit Undresser(string_view text) : text_(text) {}

  std::string Run() {
    while (at_ < text_.size()) Step();
    return std::move(plain_);
  }

 private:
  void Step() {
    if (TakePiece()) return;
    const char c = text_[at_];
    if (c == '\\') return Command();
    if (c == '{') return Open(opens_style_);
    opens_style_ = false;
    if (c == '}') return Close();
    plain_ += absl::ascii_tolower(static_cast<unsigned char>(c));
    ++at_;
  }

  bool TakePiece() {
    const string_view rest = text_.substr(at_);
    if (rest.starts_with("**")) return TakeStars(rest.substr(2));
    for (const Rule& rule : kPieces) {
      if (!rest.starts_with(rule.from)) continue;
      plain_ += rule.to;
      at_ += rule.from.size();
      return true;
    }
    return false;
  }

  // A power between two numbers or names, else bold print.
  bool TakeStars(string_view behind) {
    const bool is_power =
        !plain_.empty() && IsOfWord(plain_.back()) && !behind.empty() && IsOfWord(behind[0]);
    if (is_power) plain_ += '^';
    at_ += 2;
    return true;
  }

  void Command() {
    const std::size_t begin = at_ + 1;
    std::size_t end = begin;
    while (end < text_.size() && IsLetter(text_[end])) ++end;
    if (end == begin) return Sign(begin);
    at_ = end;
    const string_view name = text_.substr(begin, end - begin);
    if (std::ranges::find(kStyles, name) != kStyles.end()) {
      opens_style_ = end < text_.size() && text_[end] == '{';
      return;
    }
    if (const Rule* rule = Find(kCommands, name)) {
      plain_ += rule->to;
    } else {
      plain_.append(1, '\\').append(name);
    }
  }

  void Sign(std::size_t begin) {
    const string_view name = text_.substr(begin, 1);
    at_ = std::min(begin + 1, text_.size());
    if (const Rule* rule = Find(kSigns, name)) {
      plain_ += rule->to;
    } else {
      plain_.append(1, '\\').append(name);
    }
  }

  // Braces of a style vanish, and so do those around a single sign of an index or exponent.
  void Open(bool of_style) {
    opens_style_ = false;
    const bool lifts = !plain_.empty() && (plain_.back() == '^' || plain_.back() == '_');
    const bool single =
        lifts && at_ + 2 < text_.size() && text_[at_ + 2] == '}' && IsOfWord(text_[at_ + 1]);
    const bool vanishes = of_style || single;
    if (of_style && !plain_.empty() && IsDigit(plain_.back())) plain_ += ' ';  // a unit, as a rule
    braces_.push_back(!vanishes);
    if (!vanishes) plain_ += '{';
    ++at_;
  }
  void Close() {
    const bool stays = braces_.empty() || braces_.back();
    if (!braces_.empty()) braces_.pop_back();
    if (stays) plain_ += '}';
    ++at_;
  }

  const string_view text_;
  std::size_t at_ = 0;
  bool opens_style_ = false;  // the next brace belongs to a style
  std::vector<bool> braces_;  // that are open: whether they stay
  std::string plain_;
};

// Whether a blank between the two says something; `command`: the first ends a command's name.
bool NeedsBlank(char before, bool command, char after) {
  if (command) return IsLetter(after);
  if (before == ',') return IsDigit(after);
  return IsOfWord(before) && IsOfWord(after);
}

std::string WithoutBlanks(string_view text) {
  std::string kept;
  bool blank = false;
  bool command = false;  // the text so far ends with a command's name
  for (const char c : text) {
    if (absl::ascii_isspace(static_cast<unsigned char>(c))) {
      blank = true;
      continue;
    }
    const bool keeps = blank && !kept.empty() && NeedsBlank(kept.back(), command, c);
    if (keeps) kept += ' ';
    command = c == '\\' || (command && !blank && IsLetter(c));
    kept += c;
    blank = false;
  }
  return kept;
}

// How many arguments the command has that ends the text; 0: none that matters, or no command.
int ArgumentsDue(string_view text) {
  if (text.ends_with("\\frac")) return 2;
  return text.ends_with("\\sqrt") ? 1 : 0;
}

// Where the argument that begins at `at` ends, if it stands without braces: a command or one
// character.
std::size_t EndOfBareArgument(string_view text, std::size_t at) {
  std::size_t end = at + 1;
  if (text[at] == '\\') {
    while (end < text.size() && IsLetter(text[end])) ++end;
  }
  return end;
}

// Gives arguments of \frac and \sqrt their braces.
std::string WithBraces(string_view text) {
  std::string out;
  int due = 0;               // arguments of the command that has just come
  std::vector<bool> firsts;  // groups that are open: whether a second argument follows
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (due > 0 && (IsOfWord(c) || c == '\\')) {
      const std::size_t end = EndOfBareArgument(text, at);
      out.append(1, '{').append(text.substr(at, end - at)).append(1, '}');
      --due;
      at = end;
      continue;
    }
    ++at;
    if (due > 0 && c == ' ') continue;
    const bool closes_first = c == '}' && !firsts.empty() && firsts.back();
    if (c == '{') firsts.push_back(due == 2);
    if (c == '}' && !firsts.empty()) firsts.pop_back();
    out += c;
    const bool ends_name = at == text.size() || !IsLetter(text[at]);
    due = closes_first ? 1 : ends_name ? ArgumentsDue(out) : 0;
  }
  return out;
}

}  // namespace

std::string PlainText(std::string_view text) {
  return WithBraces(WithoutBlanks(Undresser(text).Run()));
}

}  // namespace thinkwire::router::consensus

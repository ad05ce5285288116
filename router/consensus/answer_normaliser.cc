#include "router/consensus/answer_normaliser.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/json.h"
#include "common/strings.h"
#include "common/utf8.h"
#include "router/consensus/answer_text.h"
#include "router/consensus/number.h"
#include "router/consensus/plain_text.h"

namespace thinkwire::router::consensus {
namespace {

using std::string_view;

constexpr std::size_t kMaxResultBytes = 4096;
constexpr std::size_t kMaxJsonValuesOfAnswer = 64 << 10;

// Without blanks, signs of Markdown and the ends of sentences.
string_view Strip(string_view text) {
  const std::size_t begin = text.find_first_not_of(" *#:");
  if (begin == text.npos) return {};
  text.remove_prefix(begin);
  return text.substr(0, text.find_last_not_of(" *.,;:") + 1);
}

// FNV-1a: the same on every machine.
std::uint64_t Hash(string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  return hash;
}

std::optional<std::string> Short(std::string text) {
  if (text.empty()) return std::nullopt;
  if (text.size() <= kMaxNormalisedBytes) return text;
  constexpr std::size_t kBegin = kMaxNormalisedBytes - 32;
  return absl::StrCat(CutText(text, kBegin), " #", absl::Hex(Hash(text), absl::kZeroPad16));
}

string_view WithoutArticle(string_view text) {
  for (const string_view article : {"the ", "an ", "a "}) {
    if (text.starts_with(article)) return text.substr(article.size());
  }
  return text;
}

// "(b)", "b)" and "b." of a multiple choice are "b".
string_view WithoutBracketsOfChoice(string_view text) {
  string_view inner = text;
  if (inner.size() == 3 && inner.starts_with('(')) inner.remove_prefix(1);
  const bool is_choice = inner.size() == 2 && inner.ends_with(')') &&
                         absl::ascii_isalpha(static_cast<unsigned char>(inner[0]));
  return is_choice ? inner.substr(0, 1) : text;
}

// What stands behind the last "=", which is none of "<=", ">=", "!=" and "==".
string_view BehindEquals(string_view text) {
  const std::size_t at = text.rfind('=');
  if (at == text.npos || at == 0 || at + 1 == text.size()) return text;
  if (string_view("<>!=:").find(text[at - 1]) != string_view::npos) return text;
  return text.substr(at + 1);
}

std::string One(string_view text) {
  text = Strip(WithoutArticle(Strip(BehindEquals(Strip(text)))));
  text = WithoutBracketsOfChoice(text);
  if (auto number = ReadNumber(text)) return *std::move(number);
  return std::string(text);
}

// Where the next part begins behind a separator at `at`; npos: there is none.
std::size_t BehindSeparator(string_view text, std::size_t at) {
  if (text[at] == ',') return at + 1;
  for (const string_view word : {" and ", " or "}) {
    if (text.substr(at, word.size()) == word) return at + word.size();
  }
  return text.npos;
}

// Parts that are apart by separators outside of all brackets.
std::vector<string_view> Split(string_view text) {
  std::vector<string_view> parts;
  std::size_t begin = 0;
  int depth = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (string_view("([{").find(text[at]) != text.npos) ++depth;
    if (string_view(")]}").find(text[at]) != text.npos) --depth;
    const std::size_t next = depth == 0 ? BehindSeparator(text, at) : text.npos;
    if (next == text.npos) continue;
    parts.push_back(text.substr(begin, at - begin));
    begin = next;
    at = next - 1;
  }
  parts.push_back(text.substr(begin));
  return parts;
}

std::string All(const std::vector<string_view>& parts) {
  std::vector<std::string> all;
  for (const string_view part : parts) {
    std::string one = One(part);
    if (!one.empty()) all.push_back(std::move(one));
  }
  return absl::StrJoin(all, ",");
}

// How long the bracket at the begin is, if the end closes it; 0: there is none, or it does not.
std::size_t SizeOfBracket(string_view text) {
  const std::size_t size = text.starts_with("\\{") ? 2 : 1;
  const bool opens = size == 2 || text.starts_with('(') || text.starts_with('[');
  if (!opens || text.size() <= 2 * size) return 0;
  int depth = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (string_view("([{").find(text[at]) != text.npos) ++depth;
    if (string_view(")]}").find(text[at]) == text.npos) continue;
    if (--depth == 0) return at + 1 == text.size() ? size : 0;
  }
  return 0;
}

std::string NormaliseOnly(string_view text) {
  text = Strip(BehindEquals(text));
  const std::size_t bracket = SizeOfBracket(text);
  if (bracket == 0 || WithoutBracketsOfChoice(text).size() < text.size()) return One(text);
  const std::size_t end = text.size() - bracket;
  return absl::StrCat(View(text.substr(0, bracket)),
                      All(Split(text.substr(bracket, end - bracket))), View(text.substr(end)));
}

std::string NormaliseResult(string_view text) {
  text = Strip(text);
  if (std::ranges::count(text, '=') <= 1) {
    if (const auto number = ReadNumber(Strip(BehindEquals(text)))) return *number;
  }
  const std::vector<string_view> parts = Split(text);
  return parts.size() > 1 ? All(parts) : NormaliseOnly(text);
}

// Whole numbers may be written as decimals, and in JSON Schema are whole all the same.
void CanonicaliseNumbers(nlohmann::json& value) {
  constexpr double kExact = 9007199254740992;  // 2^53
  if (value.is_number_float()) {
    const double number = value.get<double>();
    if (std::abs(number) <= kExact && std::floor(number) == number) {
      value = static_cast<std::int64_t>(number);
    }
  } else if (value.is_structured()) {
    for (nlohmann::json& part : value) CanonicaliseNumbers(part);
  }
}

// What is cut off, and so no JSON, is compared as it stands.
std::string CanonicalJson(string_view text) {
  const JsonLimits limits = {.max_bytes = text.size(), .max_values = kMaxJsonValuesOfAnswer};
  absl::StatusOr<nlohmann::json> value = ParseJson(text, "answer", limits);
  if (!value.ok()) return std::string(text);
  CanonicaliseNumbers(*value);
  return value->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string Normalise(string_view text, AnswerKind kind) {
  if (kind == AnswerKind::kExact) return std::string(text);
  if (kind == AnswerKind::kJson) return CanonicalJson(text);
  const string_view result = FindAnswer(text);
  if (result.size() > kMaxResultBytes) return std::string(result);
  return NormaliseResult(PlainText(result));
}

}  // namespace

std::optional<std::string> NormaliseAnswer(string_view text, AnswerKind kind) {
  return Short(Normalise(text, kind));
}

}  // namespace thinkwire::router::consensus

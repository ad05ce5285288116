#include "worker/text/added_token_matcher.h"

#include <algorithm>

#include "common/utf8.h"
#include "worker/text/unicode_tables.h"

namespace thinkwire::worker::text {
namespace {

// `\w` and `\s` as Rust's regex crate defines them (Unicode TR 18, annex C).
bool IsWordCharacter(char32_t c) { return IsIn(kWordCharacters, c); }

bool IsWhiteSpace(char32_t c) { return IsIn(kWhiteSpace, c); }

// The last character of a non-empty valid text.
std::string_view LastCharacter(std::string_view utf8) {
  std::size_t begin = utf8.size() - 1;
  while (begin > 0 && (static_cast<std::uint8_t>(utf8[begin]) & 0xC0) == 0x80) --begin;
  return utf8.substr(begin);
}

bool TouchesWord(std::string_view before, std::string_view after) {
  return (!before.empty() && IsWordCharacter(DecodeUtf8(LastCharacter(before)).code_point)) ||
         (!after.empty() && IsWordCharacter(DecodeUtf8(after).code_point));
}

std::size_t NumSpaceBytesAtEnd(std::string_view utf8) {
  const std::size_t size = utf8.size();
  while (!utf8.empty()) {
    const std::string_view last = LastCharacter(utf8);
    if (!IsWhiteSpace(DecodeUtf8(last).code_point)) break;
    utf8.remove_suffix(last.size());
  }
  return size - utf8.size();
}

std::size_t NumSpaceBytesAtBegin(std::string_view utf8) {
  const std::size_t size = utf8.size();
  while (!utf8.empty()) {
    const Utf8Step step = DecodeUtf8(utf8);
    if (!IsWhiteSpace(step.code_point)) break;
    utf8.remove_prefix(step.length);
  }
  return size - utf8.size();
}

}  // namespace

void AddedTokenMatcher::Add(const AddedToken& token, std::string_view content) {
  if (content.empty()) return;
  if (first_bytes_.find(content.front()) == std::string::npos) first_bytes_ += content.front();
  std::uint32_t node = 0;
  for (const char c : content) {
    const std::uint64_t key = std::uint64_t{node} << 8 | static_cast<std::uint8_t>(c);
    const auto [child, is_new] = children_.try_emplace(key, token_at_node_.size());
    node = child->second;
    if (is_new) token_at_node_.push_back(-1);
  }
  if (token_at_node_[node] >= 0) return;
  token_at_node_[node] = static_cast<std::int32_t>(tokens_.size());
  tokens_.push_back({token.id, token.lstrip, token.rstrip, token.single_word});
}

// The family's tokens all begin with '<', which the library's search finds many bytes at a time.
std::size_t AddedTokenMatcher::NextBegin(std::string_view utf8, std::size_t from) const {
  const std::size_t at = first_bytes_.size() == 1 ? utf8.find(first_bytes_.front(), from)
                                                  : utf8.find_first_of(first_bytes_, from);
  return std::min(at, utf8.size());
}

AddedTokenMatcher::Match AddedTokenMatcher::Find(std::string_view utf8, std::size_t from) const {
  for (std::size_t begin = NextBegin(utf8, from); begin < utf8.size();
       begin = NextBegin(utf8, begin + 1)) {
    Match longest = {begin, begin, -1};
    std::uint32_t node = 0;
    for (std::size_t i = begin; i < utf8.size(); ++i) {
      const auto child =
          children_.find(std::uint64_t{node} << 8 | static_cast<std::uint8_t>(utf8[i]));
      if (child == children_.end()) break;
      node = child->second;
      if (token_at_node_[node] >= 0) longest = {begin, i + 1, token_at_node_[node]};
    }
    if (longest.token >= 0) return longest;
  }
  return {utf8.size(), utf8.size(), -1};
}

void AddedTokenMatcher::Scan(std::string_view utf8,
                             absl::FunctionRef<void(std::string_view)> on_text,
                             absl::FunctionRef<void(std::int32_t id)> on_token) const {
  std::size_t text_begin = 0;  // what is before it has been handed on
  std::size_t search_from = 0;
  while (!tokens_.empty() && search_from < utf8.size()) {
    const Match match = Find(utf8, search_from);
    if (match.token < 0) break;
    search_from = match.end;
    const Strips& token = tokens_[match.token];
    const std::string_view before = utf8.substr(0, match.begin);
    const std::string_view after = utf8.substr(match.end);
    if (token.single_word && TouchesWord(before, after)) continue;
    std::size_t begin = match.begin;
    std::size_t end = match.end;
    if (token.lstrip) begin -= NumSpaceBytesAtEnd(before.substr(std::min(text_begin, begin)));
    if (token.rstrip) end += NumSpaceBytesAtBegin(after);
    if (text_begin < begin) on_text(utf8.substr(text_begin, begin - text_begin));
    on_token(token.id);
    text_begin = end;
  }
  if (text_begin < utf8.size()) on_text(utf8.substr(text_begin));
}

}  // namespace thinkwire::worker::text

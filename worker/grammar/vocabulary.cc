#include "worker/grammar/vocabulary.h"

#include <algorithm>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/utf8.h"
#include "worker/grammar/characters.h"
#include "worker/text/tokenizer.h"

namespace thinkwire::worker::grammar {
namespace {

using Entry = std::pair<std::string_view, std::int32_t>;

std::size_t CommonLength(std::string_view a, std::string_view b) {
  const auto [end, other] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<std::size_t>(end - a.begin());
}

// How many characters, if all are whole and plain.
std::optional<std::int32_t> NumPlain(std::string_view bytes) {
  if (!IsValidUtf8(bytes)) return std::nullopt;
  const std::u32string points = ToCodePoints(bytes);
  if (!std::all_of(points.begin(), points.end(), IsPlain)) return std::nullopt;
  return static_cast<std::int32_t>(points.size());
}

// Whether the first character that is not plain, or not whole, is one of ASCII's controls.
bool StopsAtControl(std::string_view bytes) {
  while (!bytes.empty()) {
    const Utf8Step step = DecodeUtf8(bytes);
    if (step.kind != Utf8Step::Kind::kCharacter) return false;
    if (!IsPlain(step.code_point)) return step.code_point < 0x20 || step.code_point == 0x7F;
    bytes.remove_prefix(step.length);
  }
  return false;
}

bool IsLetter(std::uint8_t byte) {
  return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

// Whether UTF-8 may hold it.
bool CanOccur(int byte) { return byte < 0xC0 || (byte > 0xC1 && byte < 0xF5); }

}  // namespace

TokenTree::TokenTree(const std::vector<Entry>& tokens) {
  std::vector<std::size_t> path;  // nodes from the root to the last token
  std::string_view last;
  const auto close = [this, &path](std::size_t length) {
    for (; path.size() > length; path.pop_back()) {
      nodes_[path.back()].skip = static_cast<std::uint32_t>(nodes_.size());
    }
  };
  for (const auto& [bytes, id] : tokens) {
    close(CommonLength(last, bytes));
    for (std::size_t depth = path.size(); depth < bytes.size(); ++depth) {
      path.push_back(nodes_.size());
      nodes_.push_back({.depth = static_cast<std::uint16_t>(depth),
                        .byte = static_cast<std::uint8_t>(bytes[depth])});
    }
    nodes_.back().token = id;
    max_depth_ = std::max(max_depth_, bytes.size());
    last = bytes;
  }
  close(0);
  for (const Node& node : nodes_) {
    num_before_.push_back(static_cast<std::uint32_t>(tokens_.size()));
    if (node.token >= 0) tokens_.push_back(node.token);
  }
  num_before_.push_back(static_cast<std::uint32_t>(tokens_.size()));
  FindLetters();
}

void TokenTree::FindLetters() {
  for (std::size_t i = nodes_.size(); i-- > 0;) {  // what lies below comes later
    std::int32_t most = 0;
    bool capitals = false;
    for (std::size_t below = i + 1; below < nodes_[i].skip; below = nodes_[below].skip) {
      const Node& child = nodes_[below];
      const bool ends = child.skip == below + 1;
      const bool others = !IsLetter(child.byte) || (!ends && child.letters == 0);
      most = others ? kMaxLetters + 1 : std::max(most, child.letters + 1);
      if (most > kMaxLetters) break;
      capitals |= child.capitals != 0 || child.byte <= 'Z';
    }
    if (most > kMaxLetters) continue;
    nodes_[i].letters = static_cast<std::uint8_t>(most);
    nodes_[i].capitals = capitals ? 1 : 0;
  }
}

absl::StatusOr<std::shared_ptr<const Vocabulary>> Vocabulary::Create(
    std::vector<Token> tokens, std::vector<std::int32_t> end_ids, std::int32_t num_ids) {
  std::shared_ptr<Vocabulary> vocabulary(new Vocabulary);
  vocabulary->num_ids_ = num_ids;
  vocabulary->end_ids_ = std::move(end_ids);
  std::erase_if(vocabulary->end_ids_,
                [num_ids](std::int32_t id) { return id < 0 || id >= num_ids; });
  vocabulary->bytes_.resize(static_cast<std::size_t>(num_ids));
  std::vector<bool> known(256);
  for (Token& token : tokens) {
    if (token.id < 0 || token.id >= num_ids) continue;
    if (token.bytes.size() == 1) known[static_cast<std::uint8_t>(token.bytes[0])] = true;
    vocabulary->bytes_[token.id] = std::move(token.bytes);
  }
  for (const std::int32_t id : vocabulary->end_ids_) vocabulary->bytes_[id].clear();
  for (int byte = 0; byte < 256; ++byte) {
    if (known[byte] || !CanOccur(byte)) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        "answer formats need a vocabulary that has every byte as a token; this one lacks ", byte));
  }
  vocabulary->Build();
  return vocabulary;
}

absl::StatusOr<std::shared_ptr<const Vocabulary>> Vocabulary::Create(
    const text::Tokenizer& tokenizer, std::vector<std::int32_t> end_ids, std::int32_t num_ids) {
  std::vector<Token> tokens;
  for (std::int32_t id = 0; id < std::min(num_ids, tokenizer.num_ids()); ++id) {
    if (tokenizer.IsAdded(id)) continue;
    tokens.push_back({std::string(tokenizer.TokenBytes(id)), id});
  }
  auto vocabulary = Create(std::move(tokens), std::move(end_ids), num_ids);
  if (vocabulary.ok()) std::const_pointer_cast<Vocabulary>(*vocabulary)->tokenizer_ = &tokenizer;
  return vocabulary;
}

void Vocabulary::Build() {
  std::vector<Entry> sorted, all, special, with_controls, single_bytes;
  for (std::int32_t id = 0; id < num_ids_; ++id) {
    if (!bytes_[id].empty()) sorted.emplace_back(bytes_[id], id);
  }
  std::sort(sorted.begin(), sorted.end());
  plain_.assign(kMaxPlain, std::vector<MaskWord>(num_words()));
  for (const Entry& entry : sorted) {
    if (!all.empty() && all.back().first == entry.first) {
      twins_.emplace_back(all.back().second, entry.second);
      continue;
    }
    all.push_back(entry);
    if (entry.first.size() == 1) single_bytes.push_back(entry);
    const std::optional<std::int32_t> plain = NumPlain(entry.first);
    if (!plain.has_value()) {
      (StopsAtControl(entry.first) ? with_controls : special).push_back(entry);
      continue;
    }
    if (*plain > kMaxPlain) long_plain_.emplace_back(*plain, entry.second);
    for (std::int32_t i = *plain; i <= kMaxPlain; ++i) SetBit(plain_[i - 1], entry.second);
  }
  all_ = std::make_unique<TokenTree>(all);
  special_ = std::make_unique<TokenTree>(special);
  with_controls_ = std::make_unique<TokenTree>(with_controls);
  single_bytes_ = std::make_unique<TokenTree>(single_bytes);
}

std::string_view Vocabulary::Bytes(std::int32_t id) const {
  if (id < 0 || id >= num_ids_) return {};
  return bytes_[id];
}

void Vocabulary::SetPlain(std::int32_t num_characters, std::span<MaskWord> mask) const {
  const auto& plain = plain_[std::min(num_characters, kMaxPlain) - 1];
  std::copy(plain.begin(), plain.end(), mask.begin());
  if (num_characters <= kMaxPlain) return;
  for (const auto& [length, id] : long_plain_) {
    if (length <= num_characters) SetBit(mask, id);
  }
}

void Vocabulary::AddTwins(std::span<MaskWord> mask) const {
  for (const auto& [first, second] : twins_) {
    if (HasBit(mask, first)) SetBit(mask, second);
  }
}

std::vector<std::int32_t> Vocabulary::Encode(std::string_view utf8) const {
  if (tokenizer_ == nullptr) return {};
  return tokenizer_->EncodeUserText(utf8);
}

}  // namespace thinkwire::worker::grammar

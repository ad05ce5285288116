#include "worker/text/whole_tokens.h"

namespace thinkwire::worker::text {
namespace {

// When a token is made: at the rank of its merge, or as below.
constexpr std::int32_t kByte = -1;     // from the beginning
constexpr std::int32_t kNever = -2;    // by no merge so far
constexpr std::int32_t kMissing = -3;  // the same, and one has it as a part

struct Token {
  std::int32_t made = kNever;
  std::int32_t left = 0;
  std::int32_t right = 0;
  bool whole = false;
};

class Finder {
 public:
  Finder(const BytePairEncoder& encoder, std::size_t num_ids)
      : encoder_(encoder), tokens_(num_ids) {
    for (int byte = 0; byte < 256; ++byte) {
      const std::int32_t id = encoder.byte_id(static_cast<std::uint8_t>(byte));
      if (id != BytePairEncoder::kNoId) tokens_[id] = {.made = kByte, .whole = true};
    }
  }

  // False where ranks are no order of time.
  bool Add(const TokenMerge& merge) {
    Token& token = tokens_[merge.merged];
    if (token.made != kNever || encoder_.rank(merge.left, merge.right) != merge.rank) return false;
    const bool has_parts = HasPart(merge.left) && HasPart(merge.right);
    token = {.made = merge.rank, .left = merge.left, .right = merge.right};
    token.whole = has_parts && tokens_[merge.left].whole && tokens_[merge.right].whole &&
                  StaysApart(merge.left, merge.right);
    return true;
  }

  std::vector<bool> Whole() const {
    std::vector<bool> whole;
    whole.reserve(tokens_.size());
    for (const Token& token : tokens_) whole.push_back(token.whole);
    return whole;
  }

 private:
  bool HasPart(std::int32_t id) {
    if (tokens_[id].made == kNever) tokens_[id].made = kMissing;
    return tokens_[id].made != kMissing;
  }

  // Whether nothing merges over the border between two whole tokens before both are made.
  bool StaysApart(std::int32_t left, std::int32_t right) const {
    while (true) {
      const Token& before = tokens_[left];
      const Token& after = tokens_[right];
      std::int32_t first_allowed = 0;  // rank of a merge over the border
      if (before.made > after.made) {
        first_allowed = before.made;
        left = before.right;
      } else if (after.made != kByte) {
        first_allowed = after.made + 1;
        right = after.left;
      } else {
        return true;
      }
      if (encoder_.rank(left, right) < first_allowed) return false;
    }
  }

  const BytePairEncoder& encoder_;
  std::vector<Token> tokens_;  // by id
};

}  // namespace

std::optional<std::vector<bool>> FindWholeTokens(const BytePairEncoder& encoder,
                                                 std::span<const TokenMerge> merges,
                                                 std::size_t num_ids) {
  Finder finder(encoder, num_ids);
  for (const TokenMerge& merge : merges) {
    if (!finder.Add(merge)) return std::nullopt;
  }
  return finder.Whole();
}

}  // namespace thinkwire::worker::text

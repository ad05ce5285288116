#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/step/mask.h"

namespace thinkwire::worker::text {
class Tokenizer;
}

namespace thinkwire::worker::grammar {

using step::MaskWord;
using step::NumMaskWords;

// Tokens by their bytes, as a tree whose nodes lie one after another as a walk meets them. Most
// nodes have nothing but ASCII's letters below: what lies there can be taken at once where a
// grammar lets as many letters come, whichever they are.
class TokenTree {
 public:
  static constexpr std::int32_t kMaxLetters = 32;

  struct Node {
    std::int32_t token = -1;  // that ends here, or -1
    std::uint32_t skip = 0;   // the place after all nodes below
    std::uint16_t depth = 0;  // bytes before this one
    std::uint8_t byte = 0;
    // How many letters lie below, one after another at most, and whether capitals are among them,
    // where there are only letters; 0: something else is, or more than kMaxLetters, or nothing.
    std::uint8_t letters : 7 = 0;
    std::uint8_t capitals : 1 = 0;
  };

  // REQUIRES: `tokens` are sorted by their bytes, which differ.
  explicit TokenTree(const std::vector<std::pair<std::string_view, std::int32_t>>& tokens);

  std::span<const Node> nodes() const { return nodes_; }
  std::size_t max_depth() const { return max_depth_; }
  // Those that end in the nodes first..end-1.
  std::span<const std::int32_t> TokensOf(std::size_t first, std::size_t end) const {
    return std::span(tokens_).subspan(num_before_[first], num_before_[end] - num_before_[first]);
  }

 private:
  void FindLetters();

  std::vector<Node> nodes_;
  std::vector<std::int32_t> tokens_;       // in the order of their nodes
  std::vector<std::uint32_t> num_before_;  // by node, and one more: tokens that end before it
  std::size_t max_depth_ = 0;
};

// The tokens that an answer can be written with, laid out so that masks are found quickly. Added
// tokens are none of them, whatever they are spelled; those that end an output are known apart.
//
// Tokens of plain characters alone (characters.h) are kept by their number of characters, as masks:
// where a grammar lets any plain text come next, as in most strings, these are taken whole, and
// only the rest is walked.
// Threads: immutable.
class Vocabulary {
 public:
  // Numbers of plain characters that have a mask of their own.
  static constexpr std::int32_t kMaxPlain = 32;

  struct Token {
    std::string bytes;  // empty: it stands for none
    std::int32_t id;
  };

  // Fails: FAILED_PRECONDITION where a byte that can occur in UTF-8 is no token by itself: there
  // would be texts that cannot be written.
  static absl::StatusOr<std::shared_ptr<const Vocabulary>> Create(std::vector<Token> tokens,
                                                                  std::vector<std::int32_t> end_ids,
                                                                  std::int32_t num_ids);
  // `tokenizer` must outlive it; `end_ids` are as its model has them.
  static absl::StatusOr<std::shared_ptr<const Vocabulary>> Create(const text::Tokenizer& tokenizer,
                                                                  std::vector<std::int32_t> end_ids,
                                                                  std::int32_t num_ids);

  std::int32_t num_ids() const { return num_ids_; }
  std::size_t num_words() const { return NumMaskWords(num_ids_); }
  const std::vector<std::int32_t>& end_ids() const { return end_ids_; }
  // Empty for an id that an answer cannot have.
  std::string_view Bytes(std::int32_t id) const;

  // All tokens; those that are not plain, apart those in which a control is the first that is not;
  // those of one byte.
  const TokenTree& all() const { return *all_; }
  const TokenTree& special() const { return *special_; }
  const TokenTree& with_controls() const { return *with_controls_; }
  const TokenTree& single_bytes() const { return *single_bytes_; }
  // Makes `mask` the plain tokens of up to so many characters. REQUIRES: 1 or more
  void SetPlain(std::int32_t num_characters, std::span<MaskWord> mask) const;

  // Adds those that have the same bytes as one that is in the mask.
  void AddTwins(std::span<MaskWord> mask) const;

  // The ids that the tokenizer gives for `utf8`; none where there is no tokenizer.
  std::vector<std::int32_t> Encode(std::string_view utf8) const;

 private:
  Vocabulary() = default;
  void Build();

  std::int32_t num_ids_ = 0;
  std::vector<std::int32_t> end_ids_;
  std::vector<std::string> bytes_;  // by id
  std::vector<std::pair<std::int32_t, std::int32_t>> twins_;
  std::unique_ptr<const TokenTree> all_, special_, with_controls_, single_bytes_;
  std::vector<std::vector<MaskWord>> plain_;                       // by number of characters less 1
  std::vector<std::pair<std::int32_t, std::int32_t>> long_plain_;  // characters, id: of the others
  const text::Tokenizer* tokenizer_ = nullptr;
};

inline void SetBit(std::span<MaskWord> mask, std::int32_t id) {
  mask[static_cast<std::size_t>(id) / 64] |= MaskWord{1} << (id % 64);
}
inline bool HasBit(std::span<const MaskWord> mask, std::int32_t id) {
  return (mask[static_cast<std::size_t>(id) / 64] >> (id % 64) & 1) != 0;
}

}  // namespace thinkwire::worker::grammar

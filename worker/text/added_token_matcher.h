#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"

namespace thinkwire::worker::text {

// The id of a token that is added by its content alone.
inline constexpr std::int32_t kPlaced = -1;

// One entry of tokenizer.json's `added_tokens`, or a token that another file adds.
struct AddedToken {
  std::int32_t id = 0;       // kPlaced: the vocabulary's, else one more than the highest so far
  std::string content;       // never empty
  bool special = false;      // yields no text when decoded
  bool normalized = false;   // looked for in the normalised text, not in the raw one
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space after it
  bool single_word = false;  // only where no word character (of the build's Unicode) touches it
};

// Cuts the added tokens out of a text as Hugging Face `tokenizers` does: of all contents that occur
// leftmost, the longest; then on from its end.
// Threads: immutable.
class AddedTokenMatcher {
 public:
  // A token's content may be given in another form (normalised) than its own.
  void Add(const AddedToken& token, std::string_view content);

  // Hands `utf8` (valid) to the two sinks in order: text between tokens (never empty) and tokens.
  void Scan(std::string_view utf8, absl::FunctionRef<void(std::string_view)> on_text,
            absl::FunctionRef<void(std::int32_t id)> on_token) const;

 private:
  struct Match {
    std::size_t begin;
    std::size_t end;
    std::int32_t token;  // index into tokens_, -1: none
  };
  struct Strips {
    std::int32_t id;
    bool lstrip;
    bool rstrip;
    bool single_word;
  };

  Match Find(std::string_view utf8, std::size_t from) const;
  // Where at or after `from` a token may begin; utf8.size() if nowhere.
  std::size_t NextBegin(std::string_view utf8, std::size_t from) const;

  std::vector<Strips> tokens_;
  std::vector<std::int32_t> token_at_node_ = {-1};
  absl::flat_hash_map<std::uint64_t, std::uint32_t> children_;  // node << 8 | byte
  std::string first_bytes_;                                     // of all tokens, each once
};

}  // namespace thinkwire::worker::text

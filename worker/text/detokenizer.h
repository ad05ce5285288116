#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "worker/text/tokenizer.h"

namespace thinkwire::worker::text {

// Turns a stream of ids into text, piece by piece. The pieces joined are what decoding all ids at
// once with skip_special_tokens=True gives: every piece is whole characters, invalid bytes come out
// as U+FFFD, special tokens and undefined ids yield nothing.
//
// At most 3 bytes are held back: the begin of a character whose rest has not come.
// Threads: one at a time. Borrows the tokenizer, which must outlive it.
class Detokenizer {
 public:
  explicit Detokenizer(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}

  // Appends to `out` the text that `id` completes (nothing, while a character is incomplete).
  void Append(std::int32_t id, std::string* out);

  // Ends the text: an incomplete character becomes U+FFFD. The next Append begins a new text.
  void Flush(std::string* out);

  // Bytes held back: 0 to 3.
  std::size_t num_held_bytes() const { return num_held_; }

 private:
  void AppendBytes(std::string_view bytes, std::string* out);

  const Tokenizer* tokenizer_;
  std::array<char, 3> held_;
  std::size_t num_held_ = 0;
};

}  // namespace thinkwire::worker::text

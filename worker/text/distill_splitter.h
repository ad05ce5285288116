#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "worker/text/ascii_block.h"
#include "worker/text/character_classes.h"
#include "worker/text/piece_batch.h"

namespace thinkwire::worker::text {

// The split pattern of Qwen2 and Llama 3, and so of the distills, without a regular expression
// engine. The two differ in how many digits a piece has. In the pattern's order, a piece is:
//
//   1  (?i:'s|'t|'re|'ve|'m|'ll|'d)    the end of a contraction
//   2  [^\r\n\p{L}\p{N}]?\p{L}+        letters and what is right before them
//   3  \p{N} or \p{N}{1,3}             digits
//   4   ?[^\s\p{L}\p{N}]+[\r\n]*       anything else, with a space before and line breaks after
//   5  \s*[\r\n]+                      white space up to its last line break
//   6  \s+(?!\S)                       white space but for its last character, if a text follows
//   7  \s+                             a single one
//
// Every character begins a match of one of them. ASCII is cut in blocks of 64 bytes, whose pieces'
// begins are found all at once as a set of bits; what is not ASCII, and a piece that is longer than
// a block, one character at a time. Time: linear. Threads: immutable.
class DistillSplitter {
 public:
  // Nullopt for a pattern that is not, to the letter, one of the two.
  static std::optional<DistillSplitter> For(std::string_view pattern);

  // Hands the pieces of `utf8` (valid) to `sink`, in order.
  void Split(std::string_view utf8, PieceSink sink) const;

 private:
  explicit DistillSplitter(int max_digits)
      : max_digits_(max_digits), classes_(&CharacterClasses::Get()) {}

  struct Character {
    CharacterClass kind;
    std::size_t end;
  };

  // Adds pieces of `utf8`, which begins with one, and returns where the next begins: at most a
  // block's, and none unless the first ends in the ASCII that the block begins with.
  std::size_t CutBlock(std::string_view utf8, PieceBatch* batch) const;
  // Where pieces begin among the first `size` bytes of a block, all ASCII, of `utf8`.
  std::uint64_t Starts(const AsciiBlock& block, std::size_t size, std::string_view utf8) const;

  // REQUIRES: begin < utf8.size(), where a character begins.
  Character At(std::string_view utf8, std::size_t begin) const;
  // The end of the run of `kind` that begins at `begin`, which may be the text's end.
  std::size_t RunEnd(CharacterClass kind, std::string_view utf8, std::size_t begin) const;
  std::size_t PieceEnd(std::string_view utf8, std::size_t begin) const;
  std::size_t NumberEnd(std::string_view utf8, std::size_t begin) const;
  std::size_t OtherEnd(std::string_view utf8, std::size_t begin) const;
  std::size_t WhiteSpaceEnd(std::string_view utf8, std::size_t begin) const;

  int max_digits_;
  const CharacterClasses* classes_;
};

}  // namespace thinkwire::worker::text

#include "worker/text/distill_splitter.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "worker/text/byte_words.h"

namespace thinkwire::worker::text {
namespace {

constexpr std::string_view kQwenPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlamaPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr std::array<CharacterClass, 128> AsciiClasses() {
  std::array<CharacterClass, 128> classes{};  // kOther
  for (int c = 'A'; c <= 'Z'; ++c) classes[c] = classes[c | 0x20] = CharacterClass::kLetter;
  for (int c = '0'; c <= '9'; ++c) classes[c] = CharacterClass::kNumber;
  for (const int c : {'\t', '\v', '\f', ' '}) classes[c] = CharacterClass::kSpace;
  classes['\r'] = classes['\n'] = CharacterClass::kLineBreak;
  return classes;
}

constexpr std::array<CharacterClass, 128> kAsciiClasses = AsciiClasses();

struct CodePoint {
  char32_t value;
  std::size_t length;
};

// Of at least 2 bytes of valid UTF-8, whose first is not ASCII. DecodeUtf8, which also checks,
// makes all of Encode 5 to 10 % slower.
CodePoint DecodeLong(std::string_view utf8) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(utf8[i]); };
  const auto low = [&](std::size_t i) { return static_cast<char32_t>(byte(i) & 0x3F); };
  if (byte(0) < 0xE0) return {static_cast<char32_t>(byte(0) & 0x1F) << 6 | low(1), 2};
  if (byte(0) < 0xF0) {
    return {static_cast<char32_t>(byte(0) & 0x0F) << 12 | low(1) << 6 | low(2), 3};
  }
  return {static_cast<char32_t>(byte(0) & 0x07) << 18 | low(1) << 12 | low(2) << 6 | low(3), 4};
}

// The length of what begins with "'" and ends a contraction; 0 if it does not.
std::size_t ContractionLength(std::string_view utf8) {
  const auto lower = [&](std::size_t i) { return i < utf8.size() ? utf8[i] | 0x20 : 0; };
  switch (lower(1)) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return 2;
    case 'r':
    case 'v':
      return lower(2) == 'e' ? 3 : 0;
    case 'l':
      return lower(2) == 'l' ? 3 : 0;
    default:
      return utf8.substr(1).starts_with("\u017F") ? 3 : 0;  // a long s is an s in another case
  }
}

constexpr std::uint64_t Lowest(std::size_t num_bits) {
  return num_bits == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << num_bits) - 1;
}

// Whether a block is not worth reading: its first piece would hardly end before what is not ASCII.
bool HasOtherThanAsciiAhead(std::string_view utf8) {
  if (utf8.size() < kWordBytes) return static_cast<std::uint8_t>(utf8.front()) >= 0x80;
  return (LoadWord(utf8.data()) & 0x80808080) != 0;  // of the first four bytes
}

// Where runs of digits are cut into pieces of `max_digits`.
std::uint64_t NumberStarts(std::uint64_t numbers, int max_digits) {
  if (max_digits == 1) return numbers;
  std::uint64_t within = numbers;  // with max_digits more before it
  for (int i = 1; i <= max_digits; ++i) within &= numbers << i;
  std::uint64_t starts = numbers & ~(numbers << 1);
  for (std::uint64_t next = starts; next != 0;) {
    next = next << max_digits & within;
    starts |= next;
  }
  return starts;
}

// Of `starts`, where runs of `members` begin, those whose run does not end before one of `ends`.
std::uint64_t WithoutRunsBefore(std::uint64_t ends, std::uint64_t starts, std::uint64_t members) {
  for (std::uint64_t bad = (members + starts) & ~members & ends; bad != 0; bad &= bad - 1) {
    const std::uint64_t before = starts & ((bad & -bad) - 1);
    starts &= ~std::bit_floor(before);  // where the run that ends here began
  }
  return starts;
}

// Where what follows a contraction begins.
std::uint64_t AfterContractions(std::uint64_t apostrophes, std::string_view utf8) {
  std::uint64_t ends = 0;
  for (; apostrophes != 0; apostrophes &= apostrophes - 1) {
    const auto at = static_cast<std::size_t>(std::countr_zero(apostrophes));
    const std::size_t length = ContractionLength(utf8.substr(at));
    if (length > 0 && at + length < kBlockBytes) ends |= std::uint64_t{1} << (at + length);
  }
  return ends;
}

// Where more text follows the block's first `size` bytes, a run of white space at their end may be
// cut otherwise than if it ended there: only the first start in it is sure.
std::uint64_t WithoutUnsure(std::uint64_t starts, std::uint64_t white, std::size_t size) {
  const std::uint64_t before_run = Lowest(64 - std::countl_zero(~white & Lowest(size)));
  const std::uint64_t in_run = starts & ~before_run;
  return (starts & before_run) | (in_run & -in_run);
}

}  // namespace

std::optional<DistillSplitter> DistillSplitter::For(std::string_view pattern) {
  if (pattern == kQwenPattern) return DistillSplitter(1);
  if (pattern == kLlamaPattern) return DistillSplitter(3);
  return std::nullopt;
}

void DistillSplitter::Split(std::string_view utf8, PieceSink sink) const {
  PieceBatch batch(utf8, sink);
  while (!utf8.empty()) {
    std::size_t done = CutBlock(utf8, &batch);
    if (done == 0) {
      done = PieceEnd(utf8, 0);
      batch.Reserve(1);
      batch.Add(utf8.data(), done);
    }
    utf8.remove_prefix(done);
  }
}

std::size_t DistillSplitter::CutBlock(std::string_view utf8, PieceBatch* batch) const {
  if (HasOtherThanAsciiAhead(utf8)) return 0;
  std::array<char, kBlockBytes> end_of_text;
  const char* bytes = utf8.data();
  if (utf8.size() < kBlockBytes) {
    end_of_text.fill(0);
    std::memcpy(end_of_text.data(), bytes, utf8.size());
    bytes = end_of_text.data();
  }
  const AsciiBlock block = ReadAsciiBlock(bytes);
  const std::size_t size = std::min<std::size_t>(
      {kBlockBytes, utf8.size(), static_cast<std::size_t>(std::countr_zero(block.not_ascii))});
  const bool is_whole_text = size == utf8.size();
  std::uint64_t starts = Starts(block, size, utf8);
  if (!is_whole_text) starts = WithoutUnsure(starts, block.white, size);
  batch->Reserve(kBlockBytes);
  std::size_t begin = 0;
  for (starts &= starts - 1; starts != 0; starts &= starts - 1) {
    const auto end = static_cast<std::size_t>(std::countr_zero(starts));
    batch->Add(utf8.data() + begin, end - begin);
    begin = end;
  }
  if (!is_whole_text) return begin;
  batch->Add(utf8.data() + begin, size - begin);
  return size;
}

// All that a piece's begin depends on is before it and not before the begin of the last piece, but
// for white space: WithoutUnsure has what follows from that.
std::uint64_t DistillSplitter::Starts(const AsciiBlock& block, std::size_t size,
                                      std::string_view utf8) const {
  const std::uint64_t valid = Lowest(size);
  const std::uint64_t letters = block.letters & valid;
  const std::uint64_t numbers = block.numbers & valid;
  const std::uint64_t white = block.white & valid;
  const std::uint64_t breaks = block.line_breaks & valid;
  const std::uint64_t blanks = white & ~breaks;
  const std::uint64_t others = valid & ~(letters | numbers | white);
  // Alternative 4 takes a space before and, `taken`, the line breaks after.
  const std::uint64_t other_starts = others & ~(others << 1) & ~(block.spaces << 1);
  const std::uint64_t taken = breaks & ~(breaks + (breaks & others << 1));
  // Alternative 2 takes any blank before, or anything else that began a piece of its own.
  const std::uint64_t letter_starts = letters & ~((letters | blanks | other_starts) << 1);
  const std::uint64_t contractions = other_starts & block.apostrophes & letters >> 1;
  // Alternatives 5 to 7: runs begin, end before their last blank, and before what follows their
  // last line break.
  const std::uint64_t run_starts = white & ~(white << 1) & ~(breaks & others << 1);
  const std::uint64_t last_blanks = blanks & ~(white >> 1) & (valid >> 1);
  const std::uint64_t after_taken = blanks & taken << 1;
  const std::uint64_t after_break =
      WithoutRunsBefore(breaks, blanks & (breaks & ~taken) << 1, blanks);
  return other_starts | letter_starts | NumberStarts(numbers, max_digits_) | run_starts |
         last_blanks | after_taken | after_break |
         (AfterContractions(contractions, utf8) & letters);
}

inline DistillSplitter::Character DistillSplitter::At(std::string_view utf8,
                                                      std::size_t begin) const {
  const auto byte = static_cast<std::uint8_t>(utf8[begin]);
  if (byte < 0x80) return {kAsciiClasses[byte], begin + 1};
  const CodePoint c = DecodeLong(utf8.substr(begin));
  return {(*classes_)[c.value], begin + c.length};
}

inline std::size_t DistillSplitter::RunEnd(CharacterClass kind, std::string_view utf8,
                                           std::size_t begin) const {
  while (begin < utf8.size()) {
    const Character c = At(utf8, begin);
    if (c.kind != kind) break;
    begin = c.end;
  }
  return begin;
}

// REQUIRES: begin < utf8.size().
std::size_t DistillSplitter::PieceEnd(std::string_view utf8, std::size_t begin) const {
  if (utf8[begin] == '\'') {
    const std::size_t length = ContractionLength(utf8.substr(begin));
    if (length > 0) return begin + length;
  }
  const Character first = At(utf8, begin);
  if (first.kind == CharacterClass::kLetter) {
    return RunEnd(CharacterClass::kLetter, utf8, first.end);
  }
  if (first.kind == CharacterClass::kNumber) return NumberEnd(utf8, begin);
  if (first.kind != CharacterClass::kLineBreak && first.end < utf8.size()) {
    const Character second = At(utf8, first.end);
    if (second.kind == CharacterClass::kLetter) {
      return RunEnd(CharacterClass::kLetter, utf8, second.end);
    }
    if (utf8[begin] == ' ' && second.kind == CharacterClass::kOther) {
      return OtherEnd(utf8, second.end);
    }
  }
  if (first.kind == CharacterClass::kOther) return OtherEnd(utf8, first.end);
  return WhiteSpaceEnd(utf8, begin);
}

std::size_t DistillSplitter::NumberEnd(std::string_view utf8, std::size_t begin) const {
  for (int digits = 0; digits < max_digits_ && begin < utf8.size(); ++digits) {
    const Character c = At(utf8, begin);
    if (c.kind != CharacterClass::kNumber) break;
    begin = c.end;
  }
  return begin;
}

// The rest of alternative 4, after its first character that is no space.
std::size_t DistillSplitter::OtherEnd(std::string_view utf8, std::size_t begin) const {
  return RunEnd(CharacterClass::kLineBreak, utf8, RunEnd(CharacterClass::kOther, utf8, begin));
}

// Alternatives 5 to 7.
std::size_t DistillSplitter::WhiteSpaceEnd(std::string_view utf8, std::size_t begin) const {
  std::size_t end = begin;
  std::size_t last = begin;         // where the run's last character begins
  std::size_t after_break = begin;  // the end of the run's last line break
  while (end < utf8.size()) {
    const Character c = At(utf8, end);
    if (c.kind != CharacterClass::kSpace && c.kind != CharacterClass::kLineBreak) break;
    last = end;
    end = c.end;
    if (c.kind == CharacterClass::kLineBreak) after_break = end;
  }
  if (after_break > begin) return after_break;
  return end == utf8.size() || last == begin ? end : last;
}

}  // namespace thinkwire::worker::text

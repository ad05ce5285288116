#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace thinkwire::router::consensus {

// What an answer must look like, which says how two are compared.
enum class AnswerKind {
  kFree,   // NormaliseAnswer
  kExact,  // as it stands: a regular expression or a choice
  kJson,  // as a JSON value: white space, the order of keys and how a number is written say nothing
};

// An answer under which it is counted is at most so long; of a longer one it is the begin, and a
// hash of all of it.
inline constexpr std::size_t kMaxNormalisedBytes = 1024;

// What an output's answer, all its text, counts as in a vote; nullopt: it says nothing, which is no
// vote. Two that say the same in different ways count as the same, as far as these rules know:
//
// 1. The result is found (FindAnswer: \boxed{}, a "final answer" line, the last line), and freed of
//    its looks (PlainText: LaTeX, Markdown, currencies, degrees, percent signs).
// 2. Of "x = 5", and of a chain of equals, what stands last counts, as in appendix D.1 of
//    arXiv:2206.14858. Full stops and the like at the end, articles at the begin and brackets
//    around a single letter, as of a multiple choice, say nothing.
// 3. A number counts by its value (ReadNumber): thousands, fractions, decimals, powers of ten, and
//    units behind it.
// 4. Several, apart by commas, "and" or "or", count by rules 2 and 3 each, in their order; in ( )
//    and [ ], as of points and intervals, too. There a comma is never one of thousands.
//
// What none of this knows is compared as text; 0.3 and 1/3 are not the same, nor are x+1 and 1+x.
// A result of more than 4,096 bytes is compared as it stands. Linear in the text, of any bytes.
// Threads: any.
std::optional<std::string> NormaliseAnswer(std::string_view text, AnswerKind kind);

}  // namespace thinkwire::router::consensus

#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "worker/grammar/characters.h"
#include "worker/grammar/expressions.h"

namespace thinkwire::worker::grammar {

// A regular expression as ECMA-262 writes it, as far as it names a regular language: literals,
// `.`, classes, groups, alternation, `* + ? {m} {m,} {m,n}` (lazy ones mean the same here), and
// `^` `$` where an alternative of the whole begins or ends. `\d` and `\w` are ASCII. Refused by
// name: backreferences, lookaround, word boundaries, `\p`, flags, and what has more than
// kMaxRegexPositions characters once its counted repetitions are written out.
//
// `searched`: texts that have a match anywhere, as JSON Schema's `pattern` means it; else those
// that match as a whole, and `^` and `$` say nothing new. Fails: INVALID_ARGUMENT, saying what and
// at which byte.
absl::StatusOr<Expr> ParseRegex(std::string_view pattern, bool searched, Spelling spelling,
                                Expressions& expressions, Characters& characters);

}  // namespace thinkwire::worker::grammar

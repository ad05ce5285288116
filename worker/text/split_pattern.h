#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace thinkwire::worker::text {

// `pattern`, a regular expression as Hugging Face `tokenizers` gives it to Oniguruma (Ruby syntax),
// as PCRE2 (UTF, UCP) has to be given it to match the same over all of Unicode. Rewritten are `\s`
// (Unicode's White_Space; PCRE2 adds U+180E) and the general categories L, M, N, P, S (whose tables
// are of other Unicode versions).
// Fails: INVALID_ARGUMENT for a pattern that ends too early, UNIMPLEMENTED for what would mean
// something else or is not needed: anchors, other properties and escapes by letter, sets within a
// class, possessive counts.
absl::StatusOr<std::string> TranslateSplitPattern(std::string_view pattern);

}  // namespace thinkwire::worker::text

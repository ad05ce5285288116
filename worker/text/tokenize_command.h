#pragma once

#include <istream>
#include <ostream>

#include "absl/status/status.h"
#include "worker/text/tokenizer.h"

namespace thinkwire::worker::text {

// `thinkwire-worker --tokenize`: for each line {"text": "…"} of `in` writes a line {"ids": […]} to
// `out`: Tokenizer::Encode of the text, or EncodeUserText when `as_user_text`. Blank lines and
// other members of the object are passed over. Output is written line by line. Fails:
// INVALID_ARGUMENT, naming the line's number, at the first line that is not such an object or whose
// text is not Unicode (invalid UTF-8, lone surrogates); the lines before it are answered.
absl::Status RunTokenize(const Tokenizer& tokenizer, bool as_user_text, std::istream& in,
                         std::ostream& out);

}  // namespace thinkwire::worker::text

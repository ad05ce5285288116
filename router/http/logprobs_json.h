#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "router/http/pieces.h"

namespace thinkwire::router::http {

// Log-probabilities of tokens in OpenAI's JSON. A token is called by its text; one that is a part
// of a character by its bytes, as in "\\xe4\\xb8"; one of which nothing is known by its id, as in
// "token_id:17". Its bytes are those that it adds to the text, null where it adds none: joined they
// are the text, with what a stop string has cut off, and with bytes that are no UTF-8 as they were
// drawn. An alternative's are all that it stands for. Threads: pure.

// A list of objects, a token each. `no_bytes`: how none are written.
std::string TokensJson(const std::vector<PieceToken>& tokens, std::string_view no_bytes = "null");

// The value of a chat choice's "logprobs".
std::string ChatLogprobsJson(const std::vector<PieceToken>& content,
                             const std::vector<PieceToken>& reasoning);

// Of a completion's: parallel lists. Parts of characters are called "bytes:\\xe4\\xb8" there.
// `text_offset`: characters of the text before the first of these tokens.
std::string CompletionLogprobsJson(const std::vector<PieceToken>& tokens, std::int64_t text_offset);

}  // namespace thinkwire::router::http

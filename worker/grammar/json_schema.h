#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "worker/grammar/characters.h"
#include "worker/grammar/expressions.h"

namespace thinkwire::worker::grammar {

// The JSON texts that a JSON Schema accepts, as far as these keywords say it: type, enum, const,
// properties, required, additionalProperties, items, prefixItems, minItems, maxItems, minLength,
// maxLength, pattern, format (date, date-time, uuid, email), minimum and maximum of integers,
// anyOf, oneOf where no two branches can hold together (AreSurelyApart), allOf, `$ref` into the
// schema itself, also back to what it is in, and notes (title, default and the like, which say
// nothing). Any other keyword is refused: a constraint is kept or named, never dropped.
//
// Of the texts of a value some are left out, so that a model cannot lose its way in them:
// 1. Properties come in the order in which the schema names them, further ones after them.
// 2. Between tokens of JSON there is nothing, a space, or a line end with up to 40 spaces; at the
//    begin up to two line ends.
// 3. Integers have up to 18 digits; other numbers 16, as many after the point, and two of exponent.
// 4. Strings with a pattern or a format escape only what must be. No string holds half a surrogate
//    pair.
//
// What an expression owes (Expressions::Seal) is bounded by kMaxAnswerNesting by who uses it.
// Fails: INVALID_ARGUMENT, naming the JSON Pointer, for what is no schema, not supported, or over a
// limit of peer_limits.h.
absl::StatusOr<Expr> ParseJsonSchema(std::string_view text, Expressions& expressions,
                                     Characters& characters);

}  // namespace thinkwire::worker::grammar

#pragma once

#include "absl/status/statusor.h"
#include "worker/grammar/characters.h"
#include "worker/grammar/expressions.h"
#include "worker/grammar/schema_conjunction.h"

namespace thinkwire::worker::grammar {

// What stands between the quotes of a string whose value obeys minLength, maxLength (of code
// points), `pattern` and `format` of all parts.
// Fails: INVALID_ARGUMENT, naming the pointer of what is not supported, or too much together.
absl::StatusOr<Expr> StringInside(const Conjunction& conjunction, Expressions& expressions,
                                  Characters& characters);

}  // namespace thinkwire::worker::grammar

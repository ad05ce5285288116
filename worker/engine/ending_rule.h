#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "worker/engine/phase.h"
#include "worker/engine/request.h"
#include "worker/engine/token.h"

namespace thinkwire::worker::engine {

// `id` as the next token of an output whose phase so far is `phase`, which takes it in. The mark
// says whether it opens or closes the reasoning; whether it ends the output is EndBy's to say.
Token NextToken(PhaseMachine& phase, std::int32_t id);

// Whether `id` is one of end-of-sequence, and `request` takes it as such.
bool EndsSequence(const Request& request, std::span<const std::int32_t> end_of_sequence_ids,
                  std::int32_t id);

// What an output has come to with its last token.
struct Reached {
  bool max_tokens = false;  // all that it may have
  bool loop = false;        // it goes in circles, and that ends it
};

// Why an output of `request` is over with `token` as its last, if it is; then the token is marked
// so, unless it only was the last that fits. The one judge of that.
std::optional<EndReason> EndBy(const Request& request,
                               std::span<const std::int32_t> end_of_sequence_ids, Reached reached,
                               Token& token);

}  // namespace thinkwire::worker::engine

#pragma once

namespace thinkwire::rpc {

// What an ErrorInfo's metadata may hold beside "field". Routers pass it on from workers (Trimmed).

// Of INVALID_FIELD: how many tokens of prompt and output together the model takes, where the
// request has more.
inline constexpr char kContextTokens[] = "context_tokens";

}  // namespace thinkwire::rpc

#pragma once

#include <string>
#include <string_view>

namespace thinkwire::router {

// The salt under which a worker caches the prompt of a request: one for each owner, by whom cached
// blocks may be shared, and each salt that its client gave. A hit is told to the client
// (cached_prompt_tokens) and felt (time to the first token), so that whoever shares a salt with
// others can find out, guess by guess, what they have asked.
//
// SHA-256 of both, each with its length before it, in 64 hexadecimal digits: no two pairs have one
// salt, also where somebody looks for such pairs; and every router gives the same, so that a
// conversation finds its blocks again whichever router it comes through. Without a key, which all
// routers would have to share: the salt is no secret, it must only not be met by another's.
std::string WorkerCacheSalt(std::string_view owner, std::string_view client_salt);

}  // namespace thinkwire::router

#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"

namespace thinkwire::router {

// The salts under which workers cache the prompts of requests: one for each owner, by whom cached
// blocks may be shared, and each salt that a client gave. A hit is told to the client
// (cached_prompt_tokens) and felt (time to the first token), so that whoever shares a salt with
// others can find out, guess by guess, what they have asked.
//
// A salt is the HMAC-SHA-256 (RFC 2104) of owner and client's salt, each with its length before it,
// in 64 hexadecimal digits: no two pairs have one salt, also where somebody looks for such pairs,
// and who reaches a worker without the key cannot name another's, whose address he may well know.
// Routers of one key give the same salts, so that a conversation finds its blocks again whichever
// of them it comes through.
// Threads: constant.
class CacheSalts {
 public:
  // Of a secret key, which is never shown.
  explicit CacheSalts(std::string key) : key_(std::move(key)) {}
  // Of a key that is drawn here, and so of no other router.
  static CacheSalts OfRandomKey();
  // Of the bytes of a regular file, as they are: a line's end counts too.
  // Fails: as ReadFile; INVALID_ARGUMENT for fewer than kMinCacheSaltKeyBytes or more than
  // kMaxCacheSaltKeyBytes. The message opens with the path, and has nothing of the key.
  static absl::StatusOr<CacheSalts> OfKeyFile(const std::filesystem::path& path);

  std::string For(std::string_view owner, std::string_view client_salt) const;

 private:
  const std::string key_;
};

}  // namespace thinkwire::router

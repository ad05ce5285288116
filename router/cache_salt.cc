#include "router/cache_salt.h"

#include <openssl/sha.h>

#include <array>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/strings.h"

namespace thinkwire::router {

std::string WorkerCacheSalt(std::string_view owner, std::string_view client_salt) {
  const std::string text =
      absl::StrCat(owner.size(), ":", View(owner), client_salt.size(), ":", View(client_salt));
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

}  // namespace thinkwire::router

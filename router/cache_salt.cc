#include "router/cache_salt.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <array>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/check.h"
#include "common/file.h"
#include "common/input_limits.h"
#include "common/status.h"
#include "common/strings.h"

namespace thinkwire::router {
namespace {

constexpr int kKeyBytes = 32;  // of a drawn one: as long as SHA-256's digest

}  // namespace

CacheSalts CacheSalts::OfRandomKey() {
  std::string key(kKeyBytes, '\0');
  CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(key.data()), kKeyBytes) == 1,
        "the system has random bytes");
  return CacheSalts(std::move(key));
}

absl::StatusOr<CacheSalts> CacheSalts::OfKeyFile(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(std::string key, ReadFile(path, kMaxCacheSaltKeyBytes));
  if (key.size() < kMinCacheSaltKeyBytes) {
    return absl::InvalidArgumentError(absl::StrCat(path.string(), ": has ", key.size(),
                                                   " bytes; a key needs ", kMinCacheSaltKeyBytes,
                                                   " to ", kMaxCacheSaltKeyBytes));
  }
  return CacheSalts(std::move(key));
}

std::string CacheSalts::For(std::string_view owner, std::string_view client_salt) const {
  const std::string text =
      absl::StrCat(owner.size(), ":", View(owner), client_salt.size(), ":", View(client_salt));
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data(), &size);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), size));
}

}  // namespace thinkwire::router

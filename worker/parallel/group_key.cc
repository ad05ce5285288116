#include "worker/parallel/group_key.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <array>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/file.h"
#include "common/status.h"

namespace thinkwire::worker::parallel {

GroupKey::GroupKey(std::string token) : token_(std::move(token)) {
  CHECK(token_.size() >= kMinGroupTokenBytes && token_.size() <= kMaxGroupTokenBytes,
        "a group's token is neither guessed nor a book");
}

absl::StatusOr<GroupKey> GroupKey::Read(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(std::string token, ReadFile(path, kMaxGroupTokenBytes));
  while (token.ends_with('\n') || token.ends_with('\r')) token.pop_back();
  if (token.size() >= kMinGroupTokenBytes) return GroupKey(std::move(token));
  return absl::InvalidArgumentError(absl::StrCat(path.string(), ": has ", token.size(),
                                                 " bytes; a group's token needs ",
                                                 kMinGroupTokenBytes, " to ", kMaxGroupTokenBytes));
}

std::string GroupKey::Sign(std::string_view text) const {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  HMAC(EVP_sha256(), token_.data(), static_cast<int>(token_.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data(), &size);
  CHECK(size == kSignatureBytes, "SHA-256 gives 32 bytes");
  return {reinterpret_cast<const char*>(digest.data()), size};
}

bool GroupKey::HasSigned(std::string_view text, std::string_view signature) const {
  const std::string own = Sign(text);
  return own.size() == signature.size() &&
         CRYPTO_memcmp(own.data(), signature.data(), own.size()) == 0;
}

std::string NewNonce() {
  std::string nonce(kNonceBytes, '\0');
  CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(nonce.data()), kNonceBytes) == 1,
        "the system has random bytes");
  return nonce;
}

}  // namespace thinkwire::worker::parallel

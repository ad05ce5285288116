#include "worker/hub/digest.h"

#include <openssl/evp.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/check.h"

namespace thinkwire::worker::hub {
namespace {

constexpr std::size_t kSha256Digits = 64;
constexpr std::size_t kSha1Digits = 40;

// Null: none of ours.
const EVP_MD* MethodOf(std::string_view etag) {
  if (!std::ranges::all_of(
          etag, [](char c) { return absl::ascii_isxdigit(static_cast<unsigned char>(c)); })) {
    return nullptr;
  }
  if (etag.size() == kSha256Digits) return EVP_sha256();
  return etag.size() == kSha1Digits ? EVP_sha1() : nullptr;
}

}  // namespace

struct Digest::Context {
  Context() : evp(EVP_MD_CTX_new()) { CHECK(evp != nullptr, "OpenSSL has no memory"); }
  ~Context() { EVP_MD_CTX_free(evp); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  EVP_MD_CTX* evp;
};

Digest::Digest(std::string etag, std::int64_t bytes)
    : etag_(std::move(etag)),
      context_(MethodOf(etag_) == nullptr ? nullptr : std::make_unique<Context>()) {
  if (context_ == nullptr) return;
  CHECK(EVP_DigestInit_ex(context_->evp, MethodOf(etag_), nullptr) == 1, "OpenSSL cannot sum up");
  if (etag_.size() == kSha256Digits) return;
  std::string header = absl::StrCat("blob ", bytes);
  header.push_back('\0');
  Add(header);
}

Digest::~Digest() = default;

void Digest::Add(std::string_view bytes) {
  if (context_ == nullptr) return;
  CHECK(EVP_DigestUpdate(context_->evp, bytes.data(), bytes.size()) == 1, "OpenSSL cannot sum up");
}

std::string Digest::Result() {
  if (context_ == nullptr) return etag_;
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  CHECK(EVP_DigestFinal_ex(context_->evp, static_cast<unsigned char*>(digest), &size) == 1,
        "OpenSSL cannot sum up");
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest), std::size_t{size}));
}

}  // namespace thinkwire::worker::hub

#include "router/http/page.h"

#include <openssl/sha.h>

#include <array>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/strings.h"

namespace thinkwire::router::http {
namespace {

// What stands between the tags of an element, which the page has once.
std::string_view Between(std::string_view page, std::string_view open, std::string_view close) {
  const std::size_t begin = page.find(open);
  const std::size_t end = page.find(close, begin);
  CHECK(begin != page.npos && end != page.npos, "the page has a style and a script");
  return page.substr(begin + open.size(), end - begin - open.size());
}

// As a source of CSP.
std::string HashOf(std::string_view text) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return absl::StrCat(
      "'sha256-", absl::Base64Escape({reinterpret_cast<const char*>(digest.data()), digest.size()}),
      "'");
}

}  // namespace

std::string PagePolicy() {
  const std::string_view page = PageHtml();
  return absl::StrCat("default-src 'none'; script-src ",
                      HashOf(Between(page, "<script>", "</script>")), "; style-src ",
                      HashOf(Between(page, "<style>", "</style>")),
                      "; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
                      "frame-ancestors 'none'");
}

}  // namespace thinkwire::router::http

#include "common/tls_files.h"

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/strings.h"

namespace thinkwire {
namespace {

absl::Status CheckPair(const TlsFiles& files, std::string_view options) {
  if (files.certificate.empty() == files.key.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(View(options), "_cert and ", View(options), "_key go together"));
}

}  // namespace

absl::Status CheckServerTlsFiles(const TlsFiles& files, std::string_view options) {
  RETURN_IF_ERROR(CheckPair(files, options));
  if (files.ca.empty() || !files.certificate.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(View(options), "_client_ca needs ", View(options),
                                                 "_cert and ", View(options), "_key"));
}

absl::Status CheckClientTlsFiles(const TlsFiles& files, std::string_view options) {
  RETURN_IF_ERROR(CheckPair(files, options));
  if (files.certificate.empty() || !files.ca.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(View(options), "_cert needs ", View(options),
                                                 "_ca, by which the server is known"));
}

}  // namespace thinkwire

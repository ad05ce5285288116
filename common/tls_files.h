#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace thinkwire {

// Where one end of TLS connections has its certificates: paths of PEM files, as options give them.
struct TlsFiles {
  std::string certificate{};  // its own, those that vouch for it after it; empty: it shows none
  std::string key{};          // the certificate's private key, not encrypted
  std::string ca{};           // whom it believes; empty: it asks for no certificate
};

// Whether the files of a server go together: certificate and key, with or without a CA. None of
// them: no TLS. `options` is how those of certificate and key begin, "--tls" of "--tls_cert".
// Fails: INVALID_ARGUMENT, one sentence that names the option that is missing.
absl::Status CheckServerTlsFiles(const TlsFiles& files, std::string_view options);

// The same of a client: a CA, with or without certificate and key.
absl::Status CheckClientTlsFiles(const TlsFiles& files, std::string_view options);

}  // namespace thinkwire

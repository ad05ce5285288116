#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/tls_files.h"

namespace thinkwire::rpc {

// What TlsFiles hold, in PEM, once it is known to be good for a handshake.
struct TlsMaterial {
  std::string identity{};  // certificate, those that vouch for it, its key; empty: none
  std::string ca{};        // empty: none
  absl::Time not_after{};  // of the certificate; InfiniteFuture: there is none
  std::string subject{};   // likewise, as "CN=router", for the log
};

// Reads the files that are given and checks all that gRPC, which takes whatever it is given, would
// fail at in every handshake: PEM, the key's being the certificate's, dates, lengths of keys by
// OpenSSL's rules. REQUIRES: CheckServerTlsFiles or CheckClientTlsFiles.
// Fails: as ReadFile; INVALID_ARGUMENT, one sentence that opens with the path and has nothing of
// a key.
absl::StatusOr<TlsMaterial> ReadTlsFiles(const TlsFiles& files);

}  // namespace thinkwire::rpc

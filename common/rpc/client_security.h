#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "common/rpc/channel.h"
#include "common/tls_files.h"

namespace thinkwire::rpc {

// What a client of people's is given to reach `address` by, as its files are now: they are not
// watched. No CA: no TLS; an empty `api_key_file`: no key. A key goes in the clear to this machine
// alone.
// Fails: INVALID_ARGUMENT, or as ReadTlsFiles and ReadApiKeyFile, in one sentence.
absl::StatusOr<ChannelSecurity> MakeClientSecurity(const TlsFiles& files,
                                                   const std::string& api_key_file,
                                                   const std::string& address);

}  // namespace thinkwire::rpc

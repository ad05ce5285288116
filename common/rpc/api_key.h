#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace grpc {
class CallbackServerContext;
namespace experimental {
class ClientInterceptorFactoryInterface;
}  // namespace experimental
}  // namespace grpc

namespace thinkwire::rpc {

// API keys on their way: the metadata "authorization: Bearer KEY" (RFC 6750, section 2.1) of a
// call. A key is kMinApiKeyBytes to kMaxApiKeyBytes of printable ASCII without a space, and appears
// in no log, error or metric.

// The key in a file: its bytes, without white space around them.
// Fails: as ReadFile; INVALID_ARGUMENT for what is no key. The message opens with the path.
absl::StatusOr<std::string> ReadApiKeyFile(const std::string& path);

// What the call's metadata gives as its key, whatever it is. Empty: there is none.
std::string ApiKeyOf(const grpc::CallbackServerContext& context);

// Has each call of a channel carry `key`.
std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface> SendApiKey(
    const std::string& key);

}  // namespace thinkwire::rpc

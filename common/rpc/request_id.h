#pragma once

#include <cstddef>
#include <string>

namespace grpc {
class CallbackServerContext;
}  // namespace grpc

namespace thinkwire::rpc {

// Metadata of every call that is named: our name of it, in its beginning and in its ErrorInfo.
inline constexpr char kRequestIdMetadata[] = "thinkwire-request-id";
inline constexpr char kRequestIdOfError[] = "request_id";
// The client's, as it is usual. Not ours, as two requests may come with the same.
inline constexpr char kClientRequestIdMetadata[] = "x-request-id";
inline constexpr std::size_t kMaxClientRequestIdBytes = 128;

// By what a request is found in logs.
struct RequestId {
  std::string own{};        // of this request alone
  std::string of_client{};  // empty: it gave none, or one that is too long or not printable
};

// One that nobody has, or guesses: 32 hexadecimal digits.
std::string MakeRequestId();

// Names the call that has just begun, and tells the client in its initial metadata: our name, and
// the client's own again.
RequestId NameCall(grpc::CallbackServerContext& context);

}  // namespace thinkwire::rpc

#pragma once

#include <cstddef>
#include <string>

namespace grpc {
class CallbackServerContext;
}  // namespace grpc

namespace thinkwire::rpc {

// The value of metadata `key` that a call brought, where it may be logged and passed on: of at most
// `max_bytes` bytes, each of 0x20 to 0x7e, as gRPC's HTTP/2 mapping has values. gRPC 1.51's server
// lets others through, and its client aborts the process that passes them on. Else empty. Threads:
// any.
std::string ClientMetadata(const grpc::CallbackServerContext& context, const char* key,
                           std::size_t max_bytes);

}  // namespace thinkwire::rpc

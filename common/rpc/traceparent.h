#pragma once

#include <cstddef>
#include <string>

namespace grpc {
class CallbackServerContext;
}  // namespace grpc

namespace thinkwire::rpc {

// Metadata of a call that goes into logs and on to workers, as W3C Trace Context has it.
inline constexpr char kTraceparentMetadata[] = "traceparent";
// Longer ones are no trace context (55 bytes), but something to fill logs with.
inline constexpr std::size_t kMaxTraceparentBytes = 128;

// As the call brought it; empty: not at all, longer than kMaxTraceparentBytes, or not printable.
std::string TraceparentOf(const grpc::CallbackServerContext& context);

}  // namespace thinkwire::rpc

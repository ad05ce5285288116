#pragma once

#include "absl/status/status.h"

namespace google::protobuf {
class Message;
}  // namespace google::protobuf
namespace grpc {
class ByteBuffer;
}  // namespace grpc

namespace thinkwire::rpc {

// Parses what a client sent. gRPC's callback API would answer bytes that do not parse with an empty
// UNIMPLEMENTED, so services are RawServices and parse here.
// Takes some milliseconds for a request of 2 MiB, of which most is protobuf's look at the text.
// Fails: INVALID_ARGUMENT more elements or fields than a request may have (CheckWire) and text that
// is not UTF-8 (both naming the field), bytes that are no such message; UNIMPLEMENTED fields and
// enum values that this build does not know, so that nothing a newer client asks for is silently
// dropped. `request` is then of no use.
absl::Status ParseRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message& request);

// The message as bytes for a raw method's reply.
grpc::ByteBuffer Serialize(const google::protobuf::Message& message);

}  // namespace thinkwire::rpc

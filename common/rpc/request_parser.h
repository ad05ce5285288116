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
// Fails: INVALID_ARGUMENT text that is not UTF-8 (naming the field), bytes that are no such
// message; UNIMPLEMENTED fields and enum values that this build does not know, so that nothing a
// newer client asks for is silently dropped.
absl::Status ParseRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message& request);

// The message as bytes for a raw method's reply.
grpc::ByteBuffer Serialize(const google::protobuf::Message& message);

}  // namespace thinkwire::rpc

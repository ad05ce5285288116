#include "common/rpc/request_parser.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/stubs/logging.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/byte_buffer.h>

#include <string>
#include <vector>

#include "common/check.h"
#include "common/log.h"
#include "common/rpc/wire_check.h"
#include "common/status.h"

namespace thinkwire::rpc {
namespace {

using google::protobuf::Message;

// Protobuf reports each invalid text on stderr by itself; the client is told, and the log needs no
// unescaped line about it.
void SendProtobufLogsToOurs() {
  static const bool done = [] {
    google::protobuf::SetLogHandler(
        [](google::protobuf::LogLevel, const char*, int, const std::string& text) {
          LogDebug("protobuf", {{"text", text}});
        });
    return true;
  }();
  (void)done;
}

std::string Flatten(const grpc::ByteBuffer& bytes) {
  std::vector<grpc::Slice> slices;
  if (!bytes.Dump(&slices).ok()) return "";
  std::string flat;
  flat.reserve(bytes.Length());
  for (const grpc::Slice& slice : slices) {
    flat.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return flat;
}

}  // namespace

absl::Status ParseRequest(const grpc::ByteBuffer& bytes, Message& request) {
  SendProtobufLogsToOurs();
  const std::string flat = Flatten(bytes);
  const google::protobuf::Descriptor& type = *request.GetDescriptor();
  RETURN_IF_ERROR(CheckWire(flat, type));
  if (request.ParseFromString(flat)) return absl::OkStatus();
  RETURN_IF_ERROR(CheckWire(flat, type, Texts::kUtf8));
  return Malformed(flat, type);
}

grpc::ByteBuffer Serialize(const Message& message) {
  grpc::ByteBuffer bytes;
  bool own = false;
  const grpc::Status status =
      grpc::GenericSerialize<grpc::ProtoBufferWriter, Message>(message, &bytes, &own);
  CHECK(status.ok(), "a message of ours does not serialise");
  return bytes;
}

}  // namespace thinkwire::rpc

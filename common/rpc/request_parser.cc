#include "common/rpc/request_parser.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/message.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/unknown_field_set.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/byte_buffer.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/log.h"
#include "common/rpc/status_details.h"
#include "common/utf8.h"

namespace thinkwire::rpc {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

// Protobuf's own limit.
constexpr int kMaxDepth = 100;

std::string Join(const std::string& path, const std::string& name) {
  return path.empty() ? name : absl::StrCat(path, ".", name);
}

// "path.name", with "[i]" for elements of repeated fields.
std::string ElementPath(const std::string& path, const FieldDescriptor& field, int index) {
  std::string element = Join(path, field.name());
  if (field.is_repeated()) absl::StrAppend(&element, "[", index, "]");
  return element;
}

// The first text field in the wire bytes that is not UTF-8, if the bytes can be read that far.
std::optional<std::string> FindInvalidUtf8(std::string_view bytes, const Descriptor& type,
                                           const std::string& path, int depth) {
  if (depth > kMaxDepth) return std::nullopt;
  CodedInputStream input(reinterpret_cast<const uint8_t*>(bytes.data()),
                         static_cast<int>(bytes.size()));
  std::vector<int> seen(static_cast<std::size_t>(type.field_count()), 0);
  while (const uint32_t tag = input.ReadTag()) {
    if (WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
      if (!WireFormatLite::SkipField(&input, tag)) return std::nullopt;
      continue;
    }
    uint32_t size = 0;
    if (!input.ReadVarint32(&size)) return std::nullopt;
    const int start = input.CurrentPosition();
    if (size > bytes.size() - static_cast<std::size_t>(start)) return std::nullopt;
    const std::string_view value = bytes.substr(static_cast<std::size_t>(start), size);
    input.Skip(static_cast<int>(size));
    const auto* field = type.FindFieldByNumber(WireFormatLite::GetTagFieldNumber(tag));
    if (field == nullptr) continue;
    const std::string name =
        ElementPath(path, *field, seen[static_cast<std::size_t>(field->index())]++);
    if (field->type() == FieldDescriptor::TYPE_STRING && !IsValidUtf8(value)) return name;
    if (field->type() == FieldDescriptor::TYPE_MESSAGE) {
      auto found = FindInvalidUtf8(value, *field->message_type(), name, depth + 1);
      if (found) return found;
    }
  }
  return std::nullopt;
}

absl::Status UnknownField(const std::string& path, int number) {
  const std::string name = Join(path, absl::StrCat("#", number));
  return WithMetadata(
      Error(absl::StatusCode::kUnimplemented, "UNKNOWN_FIELD",
            absl::StrCat("field number ", number, " of ", path.empty() ? "the request" : path,
                         " is not known to this server")),
      "field", name);
}

absl::Status UnknownEnumValue(const std::string& path, int number) {
  return WithMetadata(
      Error(absl::StatusCode::kUnimplemented, "UNKNOWN_ENUM_VALUE",
            absl::StrCat("value ", number, " of ", path, " is not known to this server")),
      "field", path);
}

absl::Status CheckKnown(const Message& message, const std::string& path);

absl::Status CheckKnownEnum(const Message& message, const FieldDescriptor& field,
                            const std::string& path) {
  const Reflection& reflection = *message.GetReflection();
  const int count = field.is_repeated() ? reflection.FieldSize(message, &field) : 1;
  for (int i = 0; i < count; ++i) {
    const int value = field.is_repeated() ? reflection.GetRepeatedEnumValue(message, &field, i)
                                          : reflection.GetEnumValue(message, &field);
    if (field.enum_type()->FindValueByNumber(value) == nullptr) {
      return UnknownEnumValue(ElementPath(path, field, i), value);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckKnownMessages(const Message& message, const FieldDescriptor& field,
                                const std::string& path) {
  const Reflection& reflection = *message.GetReflection();
  const int count = field.is_repeated() ? reflection.FieldSize(message, &field) : 1;
  for (int i = 0; i < count; ++i) {
    const Message& child = field.is_repeated() ? reflection.GetRepeatedMessage(message, &field, i)
                                               : reflection.GetMessage(message, &field);
    if (absl::Status status = CheckKnown(child, ElementPath(path, field, i)); !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

// Everything in `message` has a name.
absl::Status CheckKnown(const Message& message, const std::string& path) {
  const Reflection& reflection = *message.GetReflection();
  const auto& unknown = reflection.GetUnknownFields(message);
  if (!unknown.empty()) return UnknownField(path, unknown.field(0).number());
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    absl::Status status;
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
      status = CheckKnownEnum(message, *field, path);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      status = CheckKnownMessages(message, *field, path);
    }
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

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
  if (request.ParseFromString(flat)) return CheckKnown(request, "");
  if (auto field = FindInvalidUtf8(flat, *request.GetDescriptor(), "", 0)) {
    return InvalidField(*field, "is not valid UTF-8");
  }
  return Error(absl::StatusCode::kInvalidArgument, "MALFORMED_REQUEST",
               absl::StrCat("the request's ", flat.size(), " bytes are not a ",
                            request.GetDescriptor()->full_name()));
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

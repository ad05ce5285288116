// Any bytes as a WorkerGenerateRequest: what CheckWire finds in them against what protobuf makes of
// them. The reference walks the message that was parsed.
#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/check.h"
#include "common/rpc/status_details.h"
#include "common/rpc/wire_check.h"
#include "tests/fuzz/refusal.h"
#include "thinkwire/v1/worker.pb.h"

namespace {

using namespace thinkwire;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// What is in a message: elements by list, and whether all of it is known.
struct Contents {
  std::map<const FieldDescriptor*, std::int64_t> elements;
  bool known = true;

  bool Fit() const {
    for (const auto& [field, number] : elements) {
      if (number > rpc::MaxElements(*field)) return false;
    }
    return true;
  }
};

bool IsKnown(const FieldDescriptor& field, int value) {
  return field.enum_type()->FindValueByNumber(value) != nullptr;
}

void Look(const Message& message, Contents& contents) {
  const Reflection& reflection = *message.GetReflection();
  if (!reflection.GetUnknownFields(message).empty()) contents.known = false;
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const int size = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    if (field->is_repeated()) contents.elements[field] += size;
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
      CHECK(!field->is_repeated(), "requests have no lists of enums");
      contents.known &= IsKnown(*field, reflection.GetEnumValue(message, field));
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      for (int i = 0; i < size; ++i) {
        Look(field->is_repeated() ? reflection.GetRepeatedMessage(message, field, i)
                                  : reflection.GetMessage(message, field),
             contents);
      }
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto& type = *v1::WorkerGenerateRequest::descriptor();
  const absl::Status found = rpc::CheckWire(bytes, type);
  const absl::Status found_texts = rpc::CheckWire(bytes, type, rpc::Texts::kUtf8);
  fuzz::CheckRefusal(found_texts);
  CHECK(found.ok() || !found_texts.ok(), "texts are looked at besides");
  v1::WorkerGenerateRequest request;
  if (!request.ParseFromArray(data, static_cast<int>(size))) return 0;

  CHECK(rpc::ErrorReason(found) != "MALFORMED_REQUEST", "protobuf takes it");
  CHECK(!found.ok() || found_texts.ok(), "protobuf takes its texts");
  Contents contents;
  Look(request, contents);
  CHECK(!found.ok() || (contents.known && contents.Fit()), "nothing slips through");
  // What was said twice is gone from it, so that it has what the message has.
  const absl::Status again = rpc::CheckWire(request.SerializeAsString(), type);
  CHECK(again.ok() == (contents.known && contents.Fit()), "counted as parsed");
  return 0;
}

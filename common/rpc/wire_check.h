#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"

namespace google::protobuf {
class Descriptor;
class FieldDescriptor;
}  // namespace google::protobuf

namespace thinkwire::rpc {

// What is looked for in texts.
enum class Texts : std::uint8_t {
  kPassedOver,  // nothing
  kUtf8,        // that they are UTF-8
};

// Looks at the bytes of a request of `type` before protobuf makes objects of them, which can take
// some hundred times as much memory as the bytes and as long as all else that is done with the
// request: counts its elements (MaxElements) and fields (kMaxRequestFields) and finds what this
// build does not know. Stops at the first thing that is wrong. Elements and fields are counted as
// they are on the wire: no fewer than protobuf would have in the end, and exactly as many in what
// it has serialised itself.
// Cost: O(fields) and, for packed numbers, their bytes; no memory for an element.
// Fails: INVALID_ARGUMENT too many elements or fields, or, where they are looked at, a text that is
// not UTF-8, naming the field; bytes that are no such message. UNIMPLEMENTED a field or an enum
// value that this build does not know.
absl::Status CheckWire(std::string_view bytes, const google::protobuf::Descriptor& type,
                       Texts texts = Texts::kPassedOver);

// How many elements a request may have of the repeated field or map, in all messages that have the
// field together; of a map the entries that are sent, whatever their keys.
std::int64_t MaxElements(const google::protobuf::FieldDescriptor& field);

// INVALID_ARGUMENT, MALFORMED_REQUEST.
absl::Status Malformed(std::string_view bytes, const google::protobuf::Descriptor& type);

}  // namespace thinkwire::rpc

#include "common/rpc/wire_check.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/input_limits.h"
#include "common/peer_limits.h"
#include "common/rpc/status_details.h"
#include "common/status.h"
#include "common/utf8.h"

namespace thinkwire::rpc {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

// Protobuf's own limit.
constexpr int kMaxDepth = 100;

// A request says how both phases are sampled, and how each is: each of them may have as many as
// request_checks.h says.
constexpr std::int64_t kSamplings = 3;

// The limits that are not kMaxElements.
struct ElementLimit {
  std::string_view field;  // its full name
  std::int64_t max_elements;
};
constexpr ElementLimit kElementLimits[] = {
    {"thinkwire.v1.Chat.messages", kMaxMessages},
    {"thinkwire.v1.TokenIds.ids", kMaxModelLen},
    {"thinkwire.v1.PhaseSampling.logit_bias", kSamplings* kMaxLogitBiases},
    {"thinkwire.v1.PhaseSampling.stop_strings", kSamplings* kMaxStopStrings},
    {"thinkwire.v1.PhaseSampling.stop_token_ids", kSamplings* kMaxStopTokenIds},
    {"thinkwire.v1.ResumeState.prompt_ids", kMaxModelLen},
    {"thinkwire.v1.ResumeState.outputs", kMaxOutputs},
    {"thinkwire.v1.OutputState.token_ids", kMaxModelLen},
};

// Where in a request something is. A path is made of it only when there is something to say.
struct Place {
  const Place* parent;  // null: of the request itself
  const FieldDescriptor* field;
  std::int64_t index = -1;  // of an element; < 0: the field itself
};

// "parent.field", with "[index]" for an element.
std::string PathOf(const Place& place) {
  std::string path = place.parent == nullptr ? "" : absl::StrCat(PathOf(*place.parent), ".");
  absl::StrAppend(&path, place.field->name());
  if (place.index >= 0) absl::StrAppend(&path, "[", place.index, "]");
  return path;
}

absl::Status UnknownField(const Place* parent, int number) {
  const std::string of = parent == nullptr ? "the request" : PathOf(*parent);
  const std::string name = absl::StrCat(parent == nullptr ? "" : of + ".", "#", number);
  return WithMetadata(
      Error(absl::StatusCode::kUnimplemented, "UNKNOWN_FIELD",
            absl::StrCat("field number ", number, " of ", of, " is not known to this server")),
      "field", name);
}

absl::Status CheckEnum(const Place& place, int number) {
  if (place.field->enum_type()->FindValueByNumber(number) != nullptr) return absl::OkStatus();
  const std::string path = PathOf(place);
  return WithMetadata(
      Error(absl::StatusCode::kUnimplemented, "UNKNOWN_ENUM_VALUE",
            absl::StrCat("value ", number, " of ", path, " is not known to this server")),
      "field", path);
}

int WireTypeOf(const FieldDescriptor& field) {
  return WireFormatLite::WireTypeForFieldType(static_cast<WireFormatLite::FieldType>(field.type()));
}

// How many numbers of the field's type a packed list has; what is left of one counts as none.
std::int64_t CountPacked(const FieldDescriptor& field, std::string_view list) {
  switch (WireTypeOf(field)) {
    case WireFormatLite::WIRETYPE_FIXED32:
      return static_cast<std::int64_t>(list.size() / sizeof(std::uint32_t));
    case WireFormatLite::WIRETYPE_FIXED64:
      return static_cast<std::int64_t>(list.size() / sizeof(std::uint64_t));
    default:  // the last byte of each has no high bit
      return std::ranges::count_if(list, [](char byte) { return (byte & 0x80) == 0; });
  }
}

// One pass over the bytes of a request.
class Walk {
 public:
  Walk(std::string_view bytes, const Descriptor& type, Texts texts)
      : bytes_(bytes),
        type_(type),
        texts_(texts),
        input_(reinterpret_cast<const std::uint8_t*>(bytes.data()),
               static_cast<int>(bytes.size())) {
    input_.PushLimit(static_cast<int>(bytes.size()));
  }

  absl::Status Run() { return Message(type_, nullptr, 0); }

 private:
  struct Count {
    const FieldDescriptor* field;
    std::int64_t limit;
    std::int64_t elements = 0;
  };

  // Up to the innermost limit.
  absl::Status Message(const Descriptor& type, const Place* parent, int depth) {
    if (depth > kMaxDepth) return Unreadable();
    while (const std::uint32_t tag = input_.ReadTag()) {
      RETURN_IF_ERROR(Field(tag, type, parent, depth));
    }
    return input_.ConsumedEntireMessage() ? absl::OkStatus() : Unreadable();
  }

  absl::Status Field(std::uint32_t tag, const Descriptor& type, const Place* parent, int depth) {
    const int number = WireFormatLite::GetTagFieldNumber(tag);
    const int wire = WireFormatLite::GetTagWireType(tag);
    const bool ends_group = wire == WireFormatLite::WIRETYPE_END_GROUP;
    if (number == 0 || ends_group || wire > WireFormatLite::WIRETYPE_FIXED32) return Unreadable();
    const FieldDescriptor* const field = type.FindFieldByNumber(number);
    const bool listed = wire == WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
    if (field == nullptr || (wire != WireTypeOf(*field) && !(listed && field->is_packable()))) {
      return UnknownField(parent, number);
    }
    if (++num_fields_ > kMaxRequestFields) return TooManyFields({parent, field});
    if (listed) return Bytes({parent, field}, depth);
    return Number({parent, field}, wire);
  }

  absl::Status Number(Place place, int wire) {
    RETURN_IF_ERROR(Add(place, 1));
    std::uint64_t value = 0;
    if (wire == WireFormatLite::WIRETYPE_VARINT) {
      if (!input_.ReadVarint64(&value)) return Unreadable();
    } else if (!input_.Skip(wire == WireFormatLite::WIRETYPE_FIXED32 ? 4 : 8)) {
      return Unreadable();
    }
    if (place.field->type() != FieldDescriptor::TYPE_ENUM) return absl::OkStatus();
    return CheckEnum(place, static_cast<int>(value));
  }

  // A text, bytes, a message or a packed list.
  absl::Status Bytes(Place place, int depth) {
    std::uint32_t size = 0;
    if (!input_.ReadVarint32(&size)) return Unreadable();
    if (size > static_cast<std::uint32_t>(input_.BytesUntilLimit())) return Unreadable();
    const auto begin = static_cast<std::size_t>(input_.CurrentPosition());
    const std::string_view value = bytes_.substr(begin, size);
    if (place.field->is_packable()) return List(place, value);
    RETURN_IF_ERROR(Add(place, 1));
    if (place.field->type() == FieldDescriptor::TYPE_MESSAGE) {
      const auto limit = input_.PushLimit(static_cast<int>(size));
      RETURN_IF_ERROR(Message(*place.field->message_type(), &place, depth + 1));
      input_.PopLimit(limit);
      return absl::OkStatus();
    }
    input_.Skip(static_cast<int>(size));
    return CheckText(place, value);
  }

  absl::Status CheckText(const Place& place, std::string_view text) const {
    const bool looked_at =
        texts_ == Texts::kUtf8 && place.field->type() == FieldDescriptor::TYPE_STRING;
    if (!looked_at || IsValidUtf8(text)) return absl::OkStatus();
    return InvalidField(PathOf(place), "is not valid UTF-8");
  }

  absl::Status List(Place place, std::string_view list) {
    if (place.field->type() == FieldDescriptor::TYPE_ENUM) return Enums(place, list.size());
    input_.Skip(static_cast<int>(list.size()));
    return Add(place, CountPacked(*place.field, list));
  }

  absl::Status Enums(Place place, std::size_t size) {
    const auto limit = input_.PushLimit(static_cast<int>(size));
    while (input_.BytesUntilLimit() > 0) {
      RETURN_IF_ERROR(Number(place, WireFormatLite::WIRETYPE_VARINT));
    }
    input_.PopLimit(limit);
    return absl::OkStatus();
  }

  // Counts `number` more elements where the field has any, and gives the place the index of the
  // first.
  absl::Status Add(Place& place, std::int64_t number) {
    if (!place.field->is_repeated()) return absl::OkStatus();
    Count& count = CountOf(*place.field);
    if (number > count.limit - count.elements) return TooManyElements(place, count.limit);
    place.index = count.elements;
    count.elements += number;
    return absl::OkStatus();
  }

  // A request has few lists, of which one or two are long.
  Count& CountOf(const FieldDescriptor& field) {
    const auto found = std::ranges::find(counts_, &field, &Count::field);
    if (found != counts_.end()) return *found;
    return counts_.emplace_back(Count{.field = &field, .limit = MaxElements(field)});
  }

  static absl::Status TooManyElements(const Place& place, std::int64_t limit) {
    return InvalidField(PathOf(place), absl::StrCat("may have at most ", limit,
                                                    " elements in a request, has more"));
  }
  static absl::Status TooManyFields(const Place& place) {
    return InvalidField(PathOf(place), absl::StrCat("is one field too many: a request may have at "
                                                    "most ",
                                                    kMaxRequestFields, " in all"));
  }
  absl::Status Unreadable() const { return Malformed(bytes_, type_); }

  const std::string_view bytes_;
  const Descriptor& type_;
  const Texts texts_;
  CodedInputStream input_;
  std::int64_t num_fields_ = 0;
  std::vector<Count> counts_;
};

}  // namespace

absl::Status CheckWire(std::string_view bytes, const Descriptor& type, Texts texts) {
  return Walk(bytes, type, texts).Run();
}

std::int64_t MaxElements(const FieldDescriptor& field) {
  const auto* const found =
      std::ranges::find(kElementLimits, field.full_name(), &ElementLimit::field);
  return found == std::end(kElementLimits) ? kMaxElements : found->max_elements;
}

absl::Status Malformed(std::string_view bytes, const Descriptor& type) {
  return Error(absl::StatusCode::kInvalidArgument, "MALFORMED_REQUEST",
               absl::StrCat("the request's ", bytes.size(), " bytes are not a ", type.full_name()));
}

}  // namespace thinkwire::rpc

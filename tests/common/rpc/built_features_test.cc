#include "common/rpc/built_features.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "absl/strings/match.h"
#include "common/rpc/request_checks.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::rpc {
namespace {

using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Sets `field` of `message`, or adds to it, so that it asks for something.
void Ask(Message& message, const FieldDescriptor& field, const EnumValueDescriptor* value) {
  const auto& reflection = *message.GetReflection();
  const bool many = field.is_repeated();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
      many ? reflection.AddMessage(&message, &field) : reflection.MutableMessage(&message, &field);
      break;
    case FieldDescriptor::CPPTYPE_ENUM:
      reflection.SetEnum(&message, &field, value);
      break;
    case FieldDescriptor::CPPTYPE_STRING:
      many ? reflection.AddString(&message, &field, "a")
           : reflection.SetString(&message, &field, "a");
      break;
    case FieldDescriptor::CPPTYPE_INT32:
      many ? reflection.AddInt32(&message, &field, 2) : reflection.SetInt32(&message, &field, 2);
      break;
    case FieldDescriptor::CPPTYPE_INT64:
      reflection.SetInt64(&message, &field, 2);
      break;
    case FieldDescriptor::CPPTYPE_UINT64:
      reflection.SetUInt64(&message, &field, 2);
      break;
    case FieldDescriptor::CPPTYPE_FLOAT:
      reflection.SetFloat(&message, &field, 0.5F);
      break;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      reflection.SetDouble(&message, &field, 0.5);
      break;
    case FieldDescriptor::CPPTYPE_BOOL:
      reflection.SetBool(&message, &field, true);
      break;
    default:
      FAIL() << field.full_name() << " is of a type that this test does not know";
  }
}

// Calls `check(path, request)` for every field and enum value below `type`, set in a request.
// `open` gives the message of `type` in a request.
void ForEachField(
    const google::protobuf::Descriptor& type, const std::string& prefix,
    const std::function<Message&(v1::GenerateRequest&)>& open,
    const std::function<void(const std::string&, const v1::GenerateRequest&)>& check) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    const std::string path = prefix + field.name();
    const int values = field.enum_type() == nullptr ? 1 : field.enum_type()->value_count();
    for (int v = field.enum_type() == nullptr ? 0 : 1; v < values; ++v) {
      const auto* value = field.enum_type() == nullptr ? nullptr : field.enum_type()->value(v);
      v1::GenerateRequest request;
      request.mutable_prompt()->set_text("1+1?");
      Ask(open(request), field, value);
      check(value == nullptr ? path : path + "=" + value->name(), request);
    }
    if (field.message_type() == nullptr || field.is_map()) continue;
    if (absl::StartsWith(field.message_type()->full_name(), "google.")) continue;
    const auto open_field = [&](v1::GenerateRequest& request) -> Message& {
      Message& message = open(request);
      const auto& reflection = *message.GetReflection();
      return field.is_repeated() ? *reflection.AddMessage(&message, &field)
                                 : *reflection.MutableMessage(&message, &field);
    };
    ForEachField(*field.message_type(), path + ".", open_field, check);
  }
}

TEST(BuiltFeaturesTest, AFieldIsToldIfAndOnlyIfItIsNotRefusedAsUnbuilt) {
  const std::vector<std::string> told = BuiltGenerateFields();
  const std::set<std::string> built(told.begin(), told.end());
  int fields = 0;
  ForEachField(
      *v1::GenerateRequest::descriptor(), "",
      [](v1::GenerateRequest& request) -> Message& { return request; },
      [&](const std::string& path, const v1::GenerateRequest& request) {
        ++fields;
        const absl::Status status = CheckRequest(request);
        EXPECT_EQ(built.contains(path), !absl::IsUnimplemented(status)) << path << ": " << status;
      });
  EXPECT_GE(fields, 60);
}

TEST(BuiltFeaturesTest, NamesFieldsValuesAndMethods) {
  const std::vector<std::string> fields = BuiltGenerateFields();
  EXPECT_TRUE(std::ranges::is_sorted(fields));
  EXPECT_THAT(fields, testing::IsSupersetOf({"answer_sampling.logit_bias", "prompt.chat.messages",
                                             "prompt.chat.messages.role=ROLE_USER", "seed",
                                             "thinking.mode=THINKING_MODE_OFF"}));
  EXPECT_THAT(fields, testing::Not(testing::Contains(testing::HasSubstr("UNSPECIFIED"))));
  EXPECT_THAT(BuiltMethods(), testing::ElementsAre("AnswerNow", "CountTokens", "Generate",
                                                   "GetServerInfo", "ListVariants"));
}

}  // namespace
}  // namespace thinkwire::rpc

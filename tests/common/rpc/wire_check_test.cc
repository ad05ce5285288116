#include "common/rpc/wire_check.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/input_limits.h"
#include "common/peer_limits.h"
#include "common/rpc/status_details.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::rpc {
namespace {

absl::Status Check(const google::protobuf::Message& message) {
  return CheckWire(message.SerializeAsString(), *message.GetDescriptor());
}

absl::Status CheckRequestBytes(const std::string& bytes, Texts texts = Texts::kPassedOver) {
  return CheckWire(bytes, *v1::GenerateRequest::descriptor(), texts);
}

void AddMessages(v1::GenerateRequest& request, std::int64_t number) {
  for (std::int64_t i = 0; i < number; ++i) {
    request.mutable_prompt()->mutable_chat()->add_messages();
  }
}
void AddIds(v1::GenerateRequest& request, std::int64_t number) {
  auto* ids = request.mutable_prompt()->mutable_token_ids()->mutable_ids();
  ids->Resize(ids->size() + static_cast<int>(number), 1000);
}
void AddBiases(v1::GenerateRequest& request, std::int64_t number) {
  auto& biases = *request.mutable_reasoning_sampling()->mutable_logit_bias();
  for (std::int64_t i = 0; i < number; ++i) biases[static_cast<int>(biases.size())] = 1;
}
void AddStopStrings(v1::GenerateRequest& request, std::int64_t number) {
  for (std::int64_t i = 0; i < number; ++i) request.mutable_answer_sampling()->add_stop_strings("");
}
void AddStopIds(v1::GenerateRequest& request, std::int64_t number) {
  for (std::int64_t i = 0; i < number; ++i)
    request.mutable_answer_sampling()->add_stop_token_ids(1);
}
void AddOutputs(v1::GenerateRequest& request, std::int64_t number) {
  for (std::int64_t i = 0; i < number; ++i) request.mutable_resume()->add_outputs();
}
void AddIdsOfOutputs(v1::GenerateRequest& request, std::int64_t number) {
  for (const std::int64_t part : {number / 2, number - number / 2}) {
    auto* ids = request.mutable_resume()->add_outputs()->mutable_token_ids();
    ids->Resize(static_cast<int>(part), 7);
  }
}
void AddChoices(v1::GenerateRequest& request, std::int64_t number) {
  auto* choices = request.mutable_answer_format()->mutable_choices();
  for (std::int64_t i = 0; i < number; ++i) choices->add_choices("x");
}

TEST(CheckWire, NamesTheListThatIsTooLongAndItsLimit) {
  struct List {
    const char* field;
    std::int64_t limit;
    void (*add)(v1::GenerateRequest& request, std::int64_t number);
  };
  for (const List& list :
       {List{"prompt.chat.messages", kMaxMessages, AddMessages},
        List{"prompt.token_ids.ids", kMaxModelLen, AddIds},
        List{"reasoning_sampling.logit_bias", 3 * kMaxLogitBiases, AddBiases},
        List{"answer_sampling.stop_strings", 3 * kMaxStopStrings, AddStopStrings},
        List{"answer_sampling.stop_token_ids", 3 * kMaxStopTokenIds, AddStopIds},
        List{"resume.outputs", kMaxOutputs, AddOutputs},
        List{"resume.outputs[1].token_ids", kMaxModelLen, AddIdsOfOutputs},
        List{"answer_format.choices.choices", kMaxElements, AddChoices}}) {
    v1::GenerateRequest full, over;
    list.add(full, list.limit);
    EXPECT_TRUE(Check(full).ok()) << Check(full);
    list.add(over, list.limit + 1);
    const absl::Status status = Check(over);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(), absl::StrCat(list.field, " may have at most ", list.limit,
                                             " elements in a request, has more"));
    EXPECT_EQ(ErrorReason(status), "INVALID_FIELD");
  }
}

// Protobuf merges a message that comes again into what has come before.
TEST(CheckWire, PartsOfAListCountTogether) {
  v1::GenerateRequest half, more;
  AddMessages(half, kMaxMessages / 2);
  AddMessages(more, kMaxMessages / 2 + 1);
  EXPECT_TRUE(CheckRequestBytes(half.SerializeAsString() + half.SerializeAsString()).ok());
  EXPECT_FALSE(CheckRequestBytes(half.SerializeAsString() + more.SerializeAsString()).ok());
}

TEST(CheckWire, EntriesOfOneKeyCountEach) {
  v1::GenerateRequest request;
  AddBiases(request, 1);
  std::string bytes;
  for (std::int64_t i = 0; i < 3 * kMaxLogitBiases; ++i) bytes += request.SerializeAsString();
  EXPECT_TRUE(CheckRequestBytes(bytes).ok());
  EXPECT_FALSE(CheckRequestBytes(bytes + request.SerializeAsString()).ok());
}

TEST(CheckWire, BoundsWhatIsSaidAgainAndAgain) {
  v1::GenerateRequest request;
  request.set_seed(1);
  std::string bytes;
  for (std::int64_t i = 0; i < kMaxRequestFields; ++i) bytes += request.SerializeAsString();
  EXPECT_TRUE(CheckRequestBytes(bytes).ok());
  const absl::Status status = CheckRequestBytes(bytes + request.SerializeAsString());
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "seed is one field too many: a request may have at most 65536 in all");
}

// A message of packed lists, each with the type's own size on the wire.
TEST(CheckWire, CountsPackedNumbersOfEverySize) {
  using Field = google::protobuf::FieldDescriptorProto;
  google::protobuf::FileDescriptorProto file;
  file.set_name("lists.proto");
  file.set_syntax("proto3");
  auto* type = file.add_message_type();
  type->set_name("Lists");
  for (const auto kind : {Field::TYPE_FIXED32, Field::TYPE_DOUBLE, Field::TYPE_SINT64}) {
    Field* const field = type->add_field();
    field->set_number(type->field_size());
    field->set_name(absl::StrCat("list", field->number()));
    field->set_label(Field::LABEL_REPEATED);
    field->set_type(kind);
  }
  google::protobuf::DescriptorPool pool;
  const auto* lists = pool.BuildFile(file)->FindMessageTypeByName("Lists");
  const auto check = [&](char tag, std::size_t bytes) {
    const std::string head = {tag, static_cast<char>((bytes & 0x7F) | 0x80),
                              static_cast<char>(bytes >> 7)};
    return CheckWire(head + std::string(bytes, 1), *lists);
  };
  EXPECT_TRUE(check('\x0a', 4 * kMaxElements).ok());
  EXPECT_FALSE(check('\x0a', 4 * (kMaxElements + 1)).ok());
  EXPECT_TRUE(check('\x12', 8 * kMaxElements).ok());
  EXPECT_FALSE(check('\x12', 8 * (kMaxElements + 1)).ok());
  EXPECT_TRUE(check('\x1a', kMaxElements).ok());
  EXPECT_FALSE(check('\x1a', kMaxElements + 1).ok());
}

TEST(CheckWire, NumbersMayComeOneByOne) {
  v1::GenerateRequest request;
  AddIds(request, 2);
  const std::string packed = request.SerializeAsString();
  const std::string one_by_one = "\x0a\x08\x1a\x06\x08\xe8\x07\x08\xe8\x07";
  EXPECT_TRUE(CheckRequestBytes(packed).ok());
  EXPECT_TRUE(CheckRequestBytes(one_by_one).ok());
  v1::GenerateRequest parsed;
  ASSERT_TRUE(parsed.ParseFromString(one_by_one));
  EXPECT_EQ(parsed.SerializeAsString(), packed);
}

TEST(CheckWire, FindsUnknownValuesInLists) {
  v1::Variant variant;
  variant.add_tasks(v1::TASK_MATH);
  EXPECT_TRUE(Check(variant).ok());
  variant.add_tasks(static_cast<v1::Task>(99));
  EXPECT_EQ(Check(variant).message(), "value 99 of tasks[1] is not known to this server");
}

TEST(CheckWire, TakesAWrongWireTypeForAnUnknownField) {
  const absl::Status status = CheckRequestBytes("\x10\x01");  // `variant` as a number
  EXPECT_EQ(ErrorReason(status), "UNKNOWN_FIELD");
  EXPECT_EQ(ErrorMetadata(status, "field"), "#2");
}

TEST(CheckWire, RefusesWhatEndsTooSoonOrTooLate) {
  for (const std::string bytes :
       {"\x0a", "\x0a\x05", "\x0a\x02\x0a\x05", "\x38", "\x38\xff", "\x0c", "\x0e", "\x0f"}) {
    EXPECT_EQ(ErrorReason(CheckRequestBytes(bytes)), "MALFORMED_REQUEST") << bytes;
  }
}

TEST(CheckWire, LooksAtTextsWhenAsked) {
  const std::string bytes = "\x0a\x03\x12\x01\xff";
  EXPECT_TRUE(CheckRequestBytes(bytes).ok());
  EXPECT_EQ(CheckRequestBytes(bytes, Texts::kUtf8).message(), "prompt.text is not valid UTF-8");
}

}  // namespace
}  // namespace thinkwire::rpc

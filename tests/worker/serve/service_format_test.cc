// WorkerService: answers that must look like something.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "common/rpc/status_details.h"
#include "tests/worker/serve/output_testing.h"
#include "tests/worker/serve/worker_service_test.h"

namespace thinkwire::worker::serve {
namespace {

using testing::AnyOf;
using testing::HasSubstr;

constexpr char kPerson[] = R"({"type": "object", "required": ["name", "age"],
    "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer",
    "minimum": 0, "maximum": 150}}, "additionalProperties": false})";

class ServiceFormatTest : public WorkerServiceTest {
 protected:
  void ServeModel() {
    engine::FakeModel model(kVocabulary);
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      ScriptIds(model, seed, 3, {'h', 'm', kThinkEnd});
    }
    Serve(std::move(model));
    worker_->runner.AllowGoingBack();  // from draws that no mask has seen
  }

  static v1::WorkerGenerateRequest MakeFormatRequest(std::uint64_t seed) {
    v1::WorkerGenerateRequest request = MakeRequest();
    request.mutable_request()->set_seed(seed);
    request.mutable_request()->set_max_tokens(200);
    return request;
  }

  Joined Answer(const v1::WorkerGenerateRequest& request) {
    Responses responses;
    EXPECT_TRUE(Generate(request, &responses).ok());
    return Join(Outputs(responses));
  }
};

TEST_F(ServiceFormatTest, ASchemasAnswersAreInIt) {
  ServeModel();
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    v1::WorkerGenerateRequest request = MakeFormatRequest(seed);
    request.mutable_request()->mutable_answer_format()->set_json_schema(kPerson);
    const Joined all = Answer(request);
    EXPECT_EQ(all.reasoning, "hm");
    ASSERT_EQ(all.finished.reason(), v1::FINISH_REASON_END) << all.answer;
    const auto json = nlohmann::json::parse(all.answer, nullptr, false);
    ASSERT_TRUE(json.is_object()) << all.answer;
    EXPECT_EQ(json.size(), 2U);
    EXPECT_TRUE(json["name"].is_string());
    EXPECT_GE(json["age"].get<int>(), 0);
    EXPECT_LE(json["age"].get<int>(), 150);
  }
}

TEST_F(ServiceFormatTest, ARegexAndChoicesHoldTheWholeAnswer) {
  ServeModel();
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    v1::WorkerGenerateRequest request = MakeFormatRequest(seed);
    request.mutable_request()->mutable_answer_format()->set_regex("\\n[a-f]{3,5} the");
    EXPECT_TRUE(std::regex_match(Answer(request).answer, std::regex("\\n[a-f]{3,5} the")));
    v1::Choices& choices = *request.mutable_request()->mutable_answer_format()->mutable_choices();
    choices.add_choices("\n\nyes");
    choices.add_choices("no");
    EXPECT_THAT(Answer(request).answer, AnyOf("\n\nyes", "no"));
  }
}

TEST_F(ServiceFormatTest, WhatCanBeNoOtherIsForcedAndCounted) {
  ServeModel();
  v1::WorkerGenerateRequest request = MakeFormatRequest(1);
  request.mutable_request()->mutable_answer_format()->set_json_schema(kPerson);
  Responses responses;
  EXPECT_TRUE(Generate(request, &responses).ok());
  std::int32_t forced = 0;
  for (const v1::GenerateResponse& event : Outputs(responses)) {
    if (event.answer_delta().forced()) forced += event.answer_delta().token_ids_size();
  }
  EXPECT_GT(forced, 8) << R"({"name": "  is one of them)";
  EXPECT_EQ(responses.back().event().completed().usage().forced_tokens(), forced);
}

TEST_F(ServiceFormatTest, WhatIsNotSupportedIsNamedByItsPointer) {
  ServeModel();
  v1::WorkerGenerateRequest request = MakeFormatRequest(1);
  v1::AnswerFormat& format = *request.mutable_request()->mutable_answer_format();
  format.set_json_schema(R"({"properties": {"a": {"type": "number", "multipleOf": 2}}})");
  absl::Status status = Generate(request);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(rpc::ErrorMetadata(status, "field"), "answer_format.json_schema");
  EXPECT_THAT(std::string(status.message()), HasSubstr("/properties/a/multipleOf"));
  format.set_regex("(a");
  status = Generate(request);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(rpc::ErrorMetadata(status, "field"), "answer_format.regex");
}

TEST_F(ServiceFormatTest, MaxTokensSayThatTheyCutIt) {
  ServeModel();
  v1::WorkerGenerateRequest request = MakeFormatRequest(1);
  request.mutable_request()->set_max_tokens(8);
  request.mutable_request()->mutable_answer_format()->set_json_schema(kPerson);
  EXPECT_EQ(Answer(request).finished.reason(), v1::FINISH_REASON_LENGTH);
}

}  // namespace
}  // namespace thinkwire::worker::serve

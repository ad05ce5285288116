// What the fields of OpenAI's APIs bring, through the door to a worker and back.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tests/router/http/apis.h"
#include "tests/router/http/door_fixture.h"
#include "tests/router/http/streams.h"

namespace thinkwire::router::http {
namespace {

using Json = nlohmann::json;

// Of a stream's events, but for [DONE].
std::vector<Json> EventsOf(std::string_view text) {
  std::vector<Json> events;
  for (std::size_t at = text.find("data: {"); at != text.npos; at = text.find("data: {")) {
    text.remove_prefix(at + 6);
    events.push_back(Json::parse(text.substr(0, text.find("\n\n"))));
  }
  return events;
}

class DoorFieldsTest : public DoorTest {
 protected:
  Reply AskApi(const Api& api, const std::string& more = "") {
    return Ask(port(), "POST", api.path, BodyFor(api, more));
  }
  // What is said at the end of a stream: of Responses within its last event.
  Json StreamedUsage(const Api& api) {
    const bool responses = &api == &kResponses;
    const std::string more = R"(,"stream":true)";
    const std::string asked = responses ? "" : R"(,"stream_options":{"include_usage":true})";
    const std::vector<Json> events = EventsOf(AskApi(api, more + asked).body);
    if (events.empty()) return {};
    return responses ? events.back()["response"]["usage"] : events.back()["usage"];
  }
};

TEST_F(DoorFieldsTest, TokensOfCachedPromptsAreToldOfEveryAnswer) {
  Open();
  std::vector<v1::GenerateResponse> events = SmallStream();
  events[1].mutable_started()->set_cached_prompt_tokens(1);
  v1::Usage& usage = *events[6].mutable_completed()->mutable_usage();
  usage.set_cached_prompt_tokens(1);
  usage.set_discarded_tokens(8);  // as no other number of it
  small_.SetScript({.events = events});
  const Json completion = Json::parse(
      R"({"prompt_tokens":3,"completion_tokens":5,"total_tokens":8,"completion_tokens_details":)"
      R"({"reasoning_tokens":3},"prompt_tokens_details":{"cached_tokens":1}})");
  const Json response = Json::parse(
      R"({"input_tokens":3,"input_tokens_details":{"cached_tokens":1},"output_tokens":5,)"
      R"("output_tokens_details":{"reasoning_tokens":3},"total_tokens":8})");
  for (const Api& api : kOpenAiApis) {
    const Json& expected = &api == &kResponses ? response : completion;
    EXPECT_EQ(Json::parse(AskApi(api).body)["usage"], expected) << api.path;
    EXPECT_EQ(StreamedUsage(api), expected) << api.path;
  }
}

TEST_F(DoorFieldsTest, TwoAnswersComeAsTwoChoices) {
  Open();
  small_.SetScript({.events = TwoOutputs()});
  const Json whole = Json::parse(AskApi(kChat, R"(,"n":2)").body);
  EXPECT_EQ(small_.last_call().request.request().n(), 2);
  ASSERT_EQ(whole["choices"].size(), 2u) << whole;
  for (const int index : {0, 1}) {
    const Json& choice = whole["choices"][index];
    EXPECT_EQ(choice["index"], index);
    EXPECT_EQ(choice["message"]["reasoning_content"], "So 2.");
    EXPECT_EQ(choice["message"]["content"], index == 0 ? "2" : "two");
    EXPECT_EQ(choice["finish_reason"], "stop");
  }
  EXPECT_EQ(whole["usage"]["completion_tokens"], 10);
  const Json raw = Json::parse(AskApi(kCompletions, R"(,"n":2)").body);
  ASSERT_EQ(raw["choices"].size(), 2u) << raw;
  EXPECT_EQ(raw["choices"][0]["text"], "So 2.</think>\n\n2");
  EXPECT_EQ(raw["choices"][1]["text"], "So 2.</think>\n\ntwo");
}

TEST_F(DoorFieldsTest, TwoAnswersOfAStreamAreToldApartByTheirIndex) {
  Open();
  small_.SetScript({.events = TwoOutputs()});
  const Reply reply = AskApi(kChat, R"(,"n":2,"stream":true)");
  EXPECT_TRUE(reply.body.ends_with("data: [DONE]\n\n")) << reply.body;
  struct Choice {
    std::string reasoning;
    std::string content;
    int roles = 0;
    std::vector<std::string> ends;
  };
  std::vector<Choice> choices(2);
  for (const Json& event : EventsOf(reply.body)) {
    ASSERT_EQ(event["choices"].size(), 1u) << event;
    const Json& choice = event["choices"][0];
    const Json& delta = choice["delta"];
    Choice& seen = choices.at(choice["index"].get<std::size_t>());
    seen.reasoning += delta.value("reasoning_content", "");
    seen.content += delta.value("content", "");
    seen.roles += delta.contains("role") ? 1 : 0;
    if (choice["finish_reason"].is_string()) seen.ends.push_back(choice["finish_reason"]);
  }
  for (const Choice& choice : choices) {
    EXPECT_EQ(choice.reasoning, "So 2.");
    EXPECT_EQ(choice.roles, 1);
    EXPECT_EQ(choice.ends, std::vector<std::string>{"stop"});
  }
  EXPECT_EQ(choices[0].content, "2");
  EXPECT_EQ(choices[1].content, "two");
}

// Each has a number that no other has.
TEST_F(DoorFieldsTest, HowTokensAreDrawnReachesTheWorker) {
  Open();
  const std::string more =
      R"(,"temperature":0.5,"top_p":0.75,"min_p":0.125,"top_k":40,"repetition_penalty":1.25,)"
      R"("presence_penalty":-0.25,"frequency_penalty":1.5)";
  for (const Api& api : kOpenAiApis) {
    EXPECT_EQ(AskApi(api, more).status, 200) << api.path;
    const v1::PhaseSampling sampling = small_.last_call().request.request().sampling();
    EXPECT_FLOAT_EQ(sampling.temperature(), 0.5) << api.path;
    EXPECT_FLOAT_EQ(sampling.top_p(), 0.75) << api.path;
    EXPECT_FLOAT_EQ(sampling.min_p(), 0.125) << api.path;
    EXPECT_EQ(sampling.top_k(), 40) << api.path;
    EXPECT_FLOAT_EQ(sampling.repetition_penalty(), 1.25) << api.path;
    EXPECT_FLOAT_EQ(sampling.presence_penalty(), -0.25) << api.path;
    EXPECT_FLOAT_EQ(sampling.frequency_penalty(), 1.5) << api.path;
  }
}

}  // namespace
}  // namespace thinkwire::router::http

#include "router/http/request_reader.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/rpc/request_checks.h"
#include "common/rpc/status_details.h"

namespace thinkwire::router::http {
namespace {

absl::StatusOr<Asked> ReadBody(const std::string& more, bool strict = false) {
  ReaderOptions options;
  options.efforts = *ReadEfforts("low=20,high=unlimited");
  options.strict = strict;
  return ReadChatRequest(
      absl::StrCat(R"({"model":"m","messages":[{"role":"user","content":"x"}])", more, "}"),
      options);
}

Asked Read(const std::string& more) {
  auto asked = ReadBody(more);
  EXPECT_TRUE(asked.ok()) << more << ": " << asked.status();
  if (!asked.ok()) return {};
  EXPECT_TRUE(rpc::CheckRequest(asked->request).ok()) << rpc::CheckRequest(asked->request);
  return *std::move(asked);
}

TEST(RequestReaderTest, ThinkingHasManyNames) {
  for (const char* off :
       {R"(,"reasoning_effort":"none")", R"(,"thinking":{"type":"disabled"})",
        R"(,"chat_template_kwargs":{"enable_thinking":false})", R"(,"enable_thinking":false)",
        R"(,"reasoning":{"effort":"none"})", R"(,"reasoning":{"enabled":false})"}) {
    EXPECT_EQ(Read(off).request.thinking().mode(), v1::THINKING_MODE_OFF) << off;
  }
  for (const char* budget :
       {R"(,"thinking_token_budget":20)", R"(,"thinking":{"type":"enabled","budget_tokens":20})",
        R"(,"reasoning":{"max_tokens":20})", R"(,"reasoning_effort":"low")",
        R"(,"thinking_token_budget":20,"reasoning_effort":"high")"}) {
    EXPECT_EQ(Read(budget).request.thinking().budget_tokens(), 20) << budget;
  }
  EXPECT_FALSE(Read(R"(,"reasoning_effort":"high")").request.has_thinking());
}

TEST(RequestReaderTest, SoHasTheFormOfTheReasoning) {
  EXPECT_EQ(Read("").form.reasoning, ReasoningForm::kBoth);
  for (const char* hidden : {R"(,"include_reasoning":false)", R"(,"reasoning_format":"hidden")",
                             R"(,"reasoning":{"exclude":true})"}) {
    EXPECT_EQ(Read(hidden).form.reasoning, ReasoningForm::kHidden) << hidden;
  }
  for (const char* raw : {R"(,"reasoning_format":"raw")", R"(,"separate_reasoning":false)"}) {
    EXPECT_EQ(Read(raw).form.reasoning, ReasoningForm::kInline) << raw;
  }
}

TEST(RequestReaderTest, ASchemaKeepsTheOrderOfItsProperties) {
  const std::string schema = R"({"type":"object","properties":{"z":{},"a":{}}})";
  EXPECT_EQ(Read(R"(,"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":)" +
                 schema + "}}")
                .request.answer_format()
                .json_schema(),
            schema);
  EXPECT_EQ(
      Read(R"(,"response_format":{"type":"json_object"})").request.answer_format().json_schema(),
      R"({"type":"object"})");
  EXPECT_FALSE(Read(R"(,"response_format":{"type":"text"})").request.has_answer_format());
}

TEST(RequestReaderTest, AnswersMayBeGuidedAsPeersHaveIt) {
  EXPECT_EQ(Read(R"(,"guided_regex":"[0-9]+")").request.answer_format().regex(), "[0-9]+");
  const v1::Choices choices =
      Read(R"(,"guided_choice":["yes","no"])").request.answer_format().choices();
  ASSERT_EQ(choices.choices_size(), 2);
  EXPECT_EQ(choices.choices(1), "no");
  EXPECT_EQ(Read(R"(,"structured_outputs":{"regex":"a+"})").request.answer_format().regex(), "a+");
  EXPECT_EQ(Read(R"(,"structured_outputs":{"choice":["a","b"]})")
                .request.answer_format()
                .choices()
                .choices(0),
            "a");
  const std::string schema = R"({"type":"object","properties":{"z":{},"a":{}}})";
  EXPECT_EQ(Read(R"(,"structured_outputs":{"json":)" + schema + "}")
                .request.answer_format()
                .json_schema(),
            schema);
  EXPECT_EQ(Read(R"(,"guided_json":"{\"type\": \"null\"}")").request.answer_format().json_schema(),
            R"({"type": "null"})");
  EXPECT_EQ(rpc::ErrorMetadata(ReadBody(R"(,"guided_choice":[1])").status(), "field"),
            "guided_choice");
}

TEST(RequestReaderTest, TwoFormatsOfAnAnswerAreRefusedByTheNameOfOne) {
  const std::vector<std::string> formats = {
      R"("guided_choice":["a","b"])", R"("guided_json":{"type":"null"})", R"("guided_regex":"a")",
      R"("response_format":{"type":"json_object"})", R"("structured_outputs":{"regex":"b"})"};
  for (std::size_t i = 0; i < formats.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const auto both = ReadBody(absl::StrCat(",", formats[i], ",", formats[j]));
      EXPECT_TRUE(absl::StrContains(both.status().message(),
                                    "must be unset beside another format of the answer"))
          << formats[i] << formats[j] << both.status();
    }
  }
  Read(R"(,"response_format":{"type":"text"},"guided_regex":"a")");
}

TEST(RequestReaderTest, AWholeNumberMayBeWrittenAsAnyNumberIs) {
  EXPECT_EQ(Read(R"(,"top_k":4.0)").request.sampling().top_k(), 4);
  EXPECT_EQ(Read(R"(,"max_tokens":1e3)").request.max_tokens(), 1000);
  for (const char* wrong : {"1.5", "true", "\"4\"", "2147483648", "-2147483649", "1e300"}) {
    const auto asked = ReadBody(absl::StrCat(R"(,"top_k":)", wrong));
    EXPECT_EQ(rpc::ErrorMetadata(asked.status(), "field"), "top_k") << wrong;
  }
}

TEST(RequestReaderTest, AnIdHasOneBias) {
  EXPECT_EQ(Read(R"(,"logit_bias":{"17":1})").request.sampling().logit_bias().at(17), 1);
  for (const char* wrong : {"017", "+17", " 17", "17 ", "-0", ""}) {
    const auto asked = ReadBody(absl::StrCat(R"(,"logit_bias":{"17":1,")", wrong, R"(":2})"));
    EXPECT_EQ(rpc::ErrorMetadata(asked.status(), "field"), "logit_bias") << wrong;
  }
}

TEST(RequestReaderTest, TheNewNameOfTheMostTokensGoesFirst) {
  EXPECT_EQ(Read(R"(,"max_tokens":9)").request.max_tokens(), 9);
  EXPECT_EQ(Read(R"(,"max_completion_tokens":7)").request.max_tokens(), 7);
  EXPECT_EQ(Read(R"(,"max_tokens":9,"max_completion_tokens":7)").request.max_tokens(), 7);
  EXPECT_EQ(Read(R"(,"max_completion_tokens":9,"max_tokens":7)").request.max_tokens(), 9);
}

TEST(RequestReaderTest, WhatWouldChangeTheAnswerAndIsNotBuiltIsRefused) {
  for (const auto& [asks, asks_nothing] : std::vector<std::pair<std::string, std::string>>{
           {R"("min_tokens":5)", R"("min_tokens":0)"},
           {R"("use_beam_search":true)", R"("use_beam_search":false)"},
           {R"("prompt_logprobs":1)", R"("prompt_logprobs":null)"},
           {R"("guided_grammar":"root ::= x")", R"("guided_grammar":null)"},
           {R"("structured_outputs":{"grammar":"root ::= x"})", R"("structured_outputs":null)"},
       }) {
    EXPECT_TRUE(absl::IsUnimplemented(ReadBody("," + asks).status())) << asks;
    EXPECT_TRUE(Read("," + asks_nothing).ignored.empty()) << asks_nothing;
  }
}

TEST(RequestReaderTest, MessagesComeAsClientsWriteThem) {
  const auto asked = ReadChatRequest(
      R"({"model":"auto","messages":[
        {"role":"developer","content":"be short","name":"x"},
        {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
        {"role":"assistant","content":null,"reasoning_content":"hm","tool_calls":[
          {"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]},
        {"role":"tool","tool_call_id":"1","content":"7"}]})",
      {});
  ASSERT_TRUE(asked.ok()) << asked.status();
  EXPECT_EQ(asked->request.variant(), "");
  const auto& messages = asked->request.prompt().chat().messages();
  ASSERT_EQ(messages.size(), 4);
  EXPECT_EQ(messages[0].role(), v1::ROLE_SYSTEM);
  EXPECT_EQ(messages[1].content(), "a\nb");
  EXPECT_EQ(messages[2].content(), "");
  EXPECT_EQ(messages[2].tool_calls(0).name(), "f");
  EXPECT_EQ(messages[3].role(), v1::ROLE_TOOL);
}

TEST(RequestReaderTest, SystemMessagesAreOneInFrontOfTheOthers) {
  const auto asked = ReadChatRequest(
      R"({"model":"m","messages":[
        {"role":"user","content":"a"},
        {"role":"system","content":"Be brief."},
        {"role":"assistant","content":"b"},
        {"role":"system","content":""},
        {"role":"user","content":"c"},
        {"role":"developer","content":"In French."}]})",
      {});
  ASSERT_TRUE(asked.ok()) << asked.status();
  const auto& messages = asked->request.prompt().chat().messages();
  ASSERT_EQ(messages.size(), 4);
  EXPECT_EQ(messages[0].role(), v1::ROLE_SYSTEM);
  EXPECT_EQ(messages[0].content(), "Be brief.\n\nIn French.");
  EXPECT_EQ(messages[1].content(), "a");
  EXPECT_EQ(messages[2].content(), "b");
  EXPECT_EQ(messages[3].content(), "c");
  EXPECT_EQ(asked->item_of, (std::vector<int>{0, 0, 2, 4}));
}

TEST(RequestReaderTest, WithoutASystemMessageThereIsNone) {
  const Asked asked = Read("");
  ASSERT_EQ(asked.request.prompt().chat().messages_size(), 1);
  EXPECT_EQ(asked.request.prompt().chat().messages(0).role(), v1::ROLE_USER);
}

TEST(RequestReaderTest, WhatIsNoRequestIsRefusedByName) {
  struct Case {
    const char* body;
    const char* words;
  };
  for (const Case& wrong : {
           Case{"", "the body"},
           Case{"[]", "the body must be a JSON object"},
           Case{R"({"model":"m"})", "messages is required"},
           Case{R"({"messages":[]})", "model is required"},
           Case{R"({"model":null,"messages":[]})", "model is required"},
           Case{R"({"model":"m","model":"m","messages":[]})", "twice"},
           Case{R"({"model":"m","messages":{}})", "messages must be a list"},
           Case{R"({"model":"m","messages":[3]})", "messages[0] must be a JSON object"},
           Case{R"({"model":"m","messages":[{"content":"x"}]})", "messages[0].role"},
           Case{R"({"model":"m","messages":[{"role":"user","content":3}]})", "messages[0].content"},
           Case{R"({"model":"m","messages":[{"role":"user","content":[{"type":"image_url"}]}]})",
                "neither images"},
           Case{R"({"model":"m","messages":[{"role":"assistant","tool_calls":[{"function":3}]}]})",
                "messages[0].tool_calls[0].function"},
       }) {
    const auto asked = ReadChatRequest(wrong.body, {});
    EXPECT_TRUE(absl::IsInvalidArgument(asked.status())) << wrong.body;
    EXPECT_NE(std::string(asked.status().message()).find(wrong.words), std::string::npos)
        << asked.status();
  }
}

TEST(RequestReaderTest, ListsAreBounded) {
  std::string messages;
  for (int i = 0; i < 4097; ++i) {
    messages += std::string(i > 0 ? "," : "") + R"({"role":"user","content":"x"})";
  }
  const auto asked =
      ReadChatRequest(R"({"model":"m","messages":[)" + messages + "]}", ReaderOptions{});
  EXPECT_EQ(rpc::ErrorMetadata(asked.status(), "field"), "messages");
  std::string deep(100, '[');
  EXPECT_FALSE(ReadBody(",\"metadata\":" + deep + std::string(100, ']')).ok());
}

TEST(RequestReaderTest, UnknownFieldsAreRememberedAndNullIsNothing) {
  const Asked asked = Read(R"(,"frob":1,"temperature":null,"stream_options":{"x":1})");
  EXPECT_EQ(asked.ignored, (std::vector<std::string>{"frob", "stream_options.x"}));
  EXPECT_FALSE(asked.request.sampling().has_temperature());
  EXPECT_EQ(rpc::ErrorMetadata(ReadBody(R"(,"frob":1)", true).status(), "field"), "frob");
}

TEST(RequestReaderTest, WhoeverAsksSharesCachedPromptsWithHimselfAlone) {
  EXPECT_EQ(Read(R"(,"user":"u")").request.cache_salt(), "u");
  EXPECT_EQ(Read(R"(,"user":"u","prompt_cache_key":"k")").request.cache_salt(), "k");
}

TEST(ReadEffortsTest, ReadsNamesAndTokens) {
  const auto efforts = ReadEfforts("low=20,high=unlimited");
  ASSERT_TRUE(efforts.ok());
  EXPECT_EQ(efforts->at("low"), 20);
  EXPECT_EQ(efforts->at("high"), std::nullopt);
  for (const char* wrong : {"low", "low=", "low=-1", "=3", "low=x", "low=99999999"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ReadEfforts(wrong).status())) << wrong;
  }
}

}  // namespace
}  // namespace thinkwire::router::http

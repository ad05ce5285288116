#include "router/http/reply_writer.h"

#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "router/catalog.h"
#include "router/config.h"
#include "router/http/json_text.h"
#include "router/http/raw_json.h"
#include "tests/fakes/fake_worker.h"

namespace thinkwire::router::http {
namespace {

using Json = nlohmann::json;

Json Whole(const ReplyForm& form, const std::vector<v1::GenerateResponse>& events) {
  ReplyWriter writer(form, "id", 1);
  for (const auto& event : events) EXPECT_EQ(writer.Take(event), "");
  return Json::parse(writer.Whole());
}

// The JSON of every event but [DONE].
std::vector<Json> Stream(const ReplyForm& form, const std::vector<v1::GenerateResponse>& events) {
  ReplyWriter writer(form, "id", 1);
  std::string text;
  for (const auto& event : events) text += writer.Take(event);
  std::vector<Json> chunks;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find("\n\n", at);
    const std::string data = text.substr(at + 6, end - at - 6);
    if (data != "[DONE]") chunks.push_back(Json::parse(data));
    at = end + 2;
  }
  return chunks;
}

TEST(ReplyWriterTest, TheReasoningIsWhereTheClientLooksForIt) {
  const auto message = [](ReasoningForm form) {
    return Whole({.reasoning = form}, SmallStream())["choices"][0]["message"];
  };
  EXPECT_EQ(message(ReasoningForm::kBoth)["reasoning_content"], "So 2.");
  EXPECT_EQ(message(ReasoningForm::kBoth)["reasoning"], "So 2.");
  EXPECT_FALSE(message(ReasoningForm::kReasoning).contains("reasoning_content"));
  EXPECT_FALSE(message(ReasoningForm::kReasoningContent).contains("reasoning"));
  EXPECT_EQ(message(ReasoningForm::kInline)["content"], "<think>\nSo 2.</think>\n\n2");
  EXPECT_EQ(message(ReasoningForm::kHidden)["content"], "2");
  EXPECT_FALSE(message(ReasoningForm::kHidden).contains("reasoning"));
}

TEST(ReplyWriterTest, TheReasoningOfAVariantMayBeElsewhere) {
  const auto forms = ReadReasoningForms("reasoning,llama-8b=inline");
  ASSERT_TRUE(forms.ok()) << forms.status();
  std::vector<v1::GenerateResponse> events = SmallStream();
  const auto message = [&](const std::string& variant) {
    events[1].mutable_started()->set_variant(variant);
    return Whole({.by_variant = &*forms}, events)["choices"][0]["message"];
  };
  EXPECT_EQ(message("qwen-7b")["reasoning"], "So 2.");
  EXPECT_EQ(message("qwen-7b")["content"], "2");
  EXPECT_FALSE(message("qwen-7b").contains("reasoning_content"));
  EXPECT_EQ(message("llama-8b")["content"], "<think>\nSo 2.</think>\n\n2");
  for (const char* wrong : {"odd", "llama-8b=odd", "=inline", "both,llama-8b="}) {
    EXPECT_FALSE(ReadReasoningForms(wrong).ok()) << wrong;
  }
}

TEST(ReplyWriterTest, WhatTheConfigurationSaysOfAVariantGoesFirstAndMayChange) {
  const auto catalog = [](const std::string& field) {
    return std::make_shared<const Catalog>(
        *ParseConfig("variants: [{name: a, workers: ['h:1'], reasoning_field: " + field +
                         "}, {name: b, workers: ['h:2']}]",
                     "r"));
  };
  CurrentCatalog current(catalog("both"));
  ReasoningForms forms = *ReadReasoningForms("reasoning,a=reasoning_content");
  EXPECT_EQ(forms.Of("a"), ReasoningForm::kReasoningContent);
  forms.catalog = &current;
  for (const char* field : kReasoningFields) {
    current.Set(catalog(field));
    EXPECT_EQ(forms.Of("a"), ReadReasoningForms(field)->any) << field;
    EXPECT_EQ(forms.Of("b"), ReasoningForm::kReasoning) << field;
  }
}

TEST(ReplyWriterTest, AStreamsPiecesMakeTheWhole) {
  for (const ReasoningForm form : {ReasoningForm::kBoth, ReasoningForm::kReasoning,
                                   ReasoningForm::kInline, ReasoningForm::kHidden}) {
    const Json whole = Whole({.reasoning = form}, SmallStream())["choices"][0];
    std::string reasoning;
    std::string content;
    Json finish;
    for (const Json& chunk : Stream({.stream = true, .reasoning = form}, SmallStream())) {
      const Json& delta = chunk["choices"][0]["delta"];
      reasoning += delta.value("reasoning", "");
      content += delta.value("content", "");
      finish = chunk["choices"][0]["finish_reason"];
    }
    EXPECT_EQ(content, whole["message"]["content"]);
    EXPECT_EQ(reasoning, whole["message"].value("reasoning", ""));
    EXPECT_EQ(finish, "stop");
  }
}

TEST(ReplyWriterTest, OutputsAreKeptApart) {
  std::vector<v1::GenerateResponse> events = SmallStream();
  v1::GenerateResponse other = events[4];
  other.mutable_answer_delta()->set_output_index(1);
  other.mutable_answer_delta()->set_text("two");
  v1::GenerateResponse end = events[5];
  end.mutable_finished()->set_output_index(1);
  end.mutable_finished()->set_reason(v1::FINISH_REASON_LENGTH);
  events.insert(events.begin() + 4, {other, end});
  const Json choices = Whole({}, events)["choices"];
  ASSERT_EQ(choices.size(), 2u);
  EXPECT_EQ(choices[0]["message"]["content"], "2");
  EXPECT_EQ(choices[1]["message"]["content"], "two");
  EXPECT_EQ(choices[1]["finish_reason"], "length");
  int roles = 0;
  for (const Json& chunk : Stream({.stream = true}, events)) {
    roles += chunk["choices"][0]["delta"].contains("role") ? 1 : 0;
  }
  EXPECT_EQ(roles, 2);
}

TEST(ReplyWriterTest, ClientsSeeNoFinishReasonThatTheyDoNotKnow) {
  for (int reason = v1::FinishReason_MIN + 1; reason <= v1::FinishReason_MAX; ++reason) {
    std::vector<v1::GenerateResponse> events = SmallStream();
    events[5].mutable_finished()->set_reason(static_cast<v1::FinishReason>(reason));
    const Json finish = Whole({}, events)["choices"][0]["finish_reason"];
    EXPECT_TRUE(finish == "stop" || finish == "length") << finish;
  }
}

TEST(ReplyWriterTest, LogprobsNameTokensByTheirIdsWhereNothingElseIsKnown) {
  std::vector<v1::GenerateResponse> events = SmallStream();
  auto* logprob = events[4].mutable_answer_delta()->add_logprobs();
  logprob->set_logprob(-0.5);
  auto* other = logprob->add_alternatives();
  other->set_token_id(7);
  other->set_logprob(-INFINITY);
  const Json chat = Whole({.logprobs = true}, events)["choices"][0]["logprobs"]["content"];
  ASSERT_EQ(chat.size(), 1u);
  EXPECT_EQ(chat[0]["token"], "token_id:20");
  EXPECT_EQ(chat[0]["logprob"], -0.5);
  EXPECT_EQ(chat[0]["top_logprobs"][0]["logprob"], -9999);
  const Json raw = Whole({.chat = false, .logprobs = true}, events)["choices"][0]["logprobs"];
  EXPECT_EQ(raw["tokens"][1], "token_id:20") << "behind the tag";
  EXPECT_EQ(raw["token_logprobs"][1], -0.5);
}

// A stream of which each token tells its bytes: "S" "o" " 2.", "</think>", "\n\n", and a character
// in two tokens.
std::vector<v1::GenerateResponse> StreamOfBytes() {
  std::vector<v1::GenerateResponse> events = SmallStream();
  const auto set = [](auto& event, const std::vector<std::pair<std::string, int>>& tokens) {
    event.clear_token_ids();
    for (const auto& [bytes, silent] : tokens) {
      event.add_token_ids(20 + event.token_ids_size());
      v1::TokenLogprob& logprob = *event.add_logprobs();
      logprob.set_logprob(-0.5);
      logprob.set_token(bytes);
      logprob.set_silent_bytes(silent);
    }
  };
  for (v1::GenerateResponse& event : events) {
    if (event.has_reasoning_delta()) {
      set(*event.mutable_reasoning_delta(), {{"S", 0}, {"o", 0}, {" 2.", 0}});
    } else if (event.has_reasoning_finished()) {
      set(*event.mutable_reasoning_finished(), {{"</think>", 8}});
    } else if (event.has_answer_delta()) {
      set(*event.mutable_answer_delta(), {{"\n\n", 2}, {"\xE4\xBD", 0}, {"\xA0", 0}});
      event.mutable_answer_delta()->set_text("\xE4\xBD\xA0");
    }
  }
  return events;
}

std::string Bytes(const Json& tokens) {
  std::string bytes;
  for (const Json& token : tokens) {
    if (token["bytes"].is_null()) continue;
    for (const Json& byte : token["bytes"]) bytes.push_back(static_cast<char>(byte.get<int>()));
  }
  return bytes;
}

TEST(ReplyWriterTest, TokensAreCalledByTheirTextAndTheirBytesAreTheText) {
  std::vector<v1::GenerateResponse> events = StreamOfBytes();
  auto* other = events[4].mutable_answer_delta()->mutable_logprobs(0)->add_alternatives();
  other->set_token("<end>");
  const Json chat = Whole({.logprobs = true}, events)["choices"][0];
  const Json& content = chat["logprobs"]["content"];
  ASSERT_EQ(content.size(), 3u);
  EXPECT_EQ(content[0]["token"], "\n\n");
  EXPECT_TRUE(content[0]["bytes"].is_null()) << "it has no text";
  EXPECT_EQ(content[0]["top_logprobs"][0]["token"], "<end>");
  EXPECT_EQ(content[0]["top_logprobs"][0]["bytes"], Json({60, 101, 110, 100, 62}));
  EXPECT_EQ(content[1]["token"], "\\xe4\\xbd");
  EXPECT_EQ(content[1]["bytes"], Json({0xE4, 0xBD}));
  EXPECT_EQ(Bytes(content), chat["message"]["content"]);
  EXPECT_EQ(Bytes(chat["logprobs"]["reasoning_content"]), chat["message"]["reasoning"]);
}

TEST(ReplyWriterTest, WhereTheReasoningIsInlineItsTagsAreTokens) {
  const Json chat =
      Whole({.reasoning = ReasoningForm::kInline, .logprobs = true}, StreamOfBytes())["choices"][0];
  const Json& content = chat["logprobs"]["content"];
  EXPECT_EQ(Bytes(content), chat["message"]["content"]);
  ASSERT_EQ(content.size(), 8u);
  EXPECT_EQ(content[0]["token"], "<think>\n");
  EXPECT_EQ(content[0]["logprob"], 0);
  EXPECT_EQ(content[4]["token"], "</think>\n\n");
  EXPECT_EQ(content[4]["logprob"], -0.5);
}

TEST(ReplyWriterTest, ACompletionsTokensSayWhereTheyAreInTheText) {
  const Json whole = Whole({.chat = false, .logprobs = true}, StreamOfBytes())["choices"][0];
  const Json& all = whole["logprobs"];
  const std::vector<std::string> tokens = {
      "S", "o", " 2.", "</think>\n\n", "\n\n", "bytes:\\xe4\\xbd", "bytes:\\xa0"};
  EXPECT_EQ(all["tokens"], tokens);
  EXPECT_EQ(all["text_offset"], Json({0, 1, 2, 5, 15, 15, 16}));
  Json offsets = Json::array();
  for (const Json& chunk :
       Stream({.chat = false, .stream = true, .logprobs = true}, StreamOfBytes())) {
    const Json& logprobs = chunk["choices"][0]["logprobs"];
    if (logprobs.is_null()) continue;
    offsets.insert(offsets.end(), logprobs["text_offset"].begin(), logprobs["text_offset"].end());
  }
  EXPECT_EQ(offsets, all["text_offset"]);
}

TEST(ReplyWriterTest, AnyTextIsValidJson) {
  std::string all;
  for (int c = 0; c < 256; ++c) all.push_back(static_cast<char>(c));
  std::vector<v1::GenerateResponse> events = SmallStream();
  events[4].mutable_answer_delta()->set_text("\x01\"\\\n\t\r\b\x7f ü 漢 \u2028");
  EXPECT_EQ(Whole({}, events)["choices"][0]["message"]["content"],
            "\x01\"\\\n\t\r\b\x7f ü 漢 \u2028");
  EXPECT_TRUE(Json::parse(JsonString(all)).is_string());
}

TEST(RawJsonTest, FindsMembersAsTheyAreWritten) {
  const std::string json =
      R"( {"a" : [1,{"b":"}"}], "x\"y":1, "f":{"z":{"q":2, "b":true} ,"s":"a\\"}, "n":-1.5e3})";
  ASSERT_TRUE(Json::accept(json));
  EXPECT_EQ(RawMember(json, {"f", "z"}), R"({"q":2, "b":true})");
  EXPECT_EQ(RawMember(json, {"f", "s"}), R"("a\\")");
  EXPECT_EQ(RawMember(json, {"a"}), R"([1,{"b":"}"}])");
  EXPECT_EQ(RawMember(json, {"n"}), "-1.5e3");
  EXPECT_EQ(RawMember(json, {"f", "z", "b"}), "true");
  EXPECT_EQ(RawMember(json, {"none"}), "");
  EXPECT_EQ(RawMember(json, {"a", "b"}), "");
  EXPECT_EQ(RawMember("{}", {"a"}), "");
  EXPECT_EQ(RawMember("[]", {"a"}), "");
}

}  // namespace
}  // namespace thinkwire::router::http

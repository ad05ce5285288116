#include "router/prompt_hash.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <set>
#include <string>

#include "router/query.h"

namespace thinkwire::router {
namespace {

using decision::PromptMarks;

constexpr fleet::PrefixKey kKey = {1, 2, 3};

void Say(v1::Role role, const std::string& text, v1::GenerateRequest& request) {
  auto& message = *request.mutable_prompt()->mutable_chat()->add_messages();
  message.set_role(role);
  message.set_content(text);
}

// Three messages of 100, 200 and 300 bytes.
v1::GenerateRequest Chat() {
  v1::GenerateRequest request;
  request.set_cache_salt("salt");
  Say(v1::ROLE_SYSTEM, std::string(100, 's'), request);
  Say(v1::ROLE_USER, std::string(200, 'u'), request);
  Say(v1::ROLE_ASSISTANT, std::string(300, 'a'), request);
  return request;
}

PromptMarks Mark(const v1::GenerateRequest& request) { return MarkPrompt(request, kKey, "peer"); }

// How many bytes the longest beginning has that both have marks of.
std::size_t Common(const v1::GenerateRequest& one, const v1::GenerateRequest& other) {
  std::set<std::uint64_t> hashes;
  for (const auto& mark : Mark(one).list) hashes.insert(mark.hash);
  std::size_t bytes = 0;
  for (const auto& mark : Mark(other).list) {
    if (hashes.contains(mark.hash)) bytes = mark.bytes;
  }
  return bytes;
}

TEST(MarkPrompt, MarksTheEndsOfMessages) {
  const PromptMarks marks = Mark(Chat());
  EXPECT_EQ(marks.peer, "peer");
  EXPECT_EQ(marks.bytes, MakeQuery(Chat()).prompt_bytes);
  ASSERT_EQ(marks.list.size(), 3U);
  EXPECT_EQ(marks.list[0].bytes, 100U);
  EXPECT_EQ(marks.list[1].bytes, 300U);
  EXPECT_EQ(marks.list[2].bytes, 600U);
}

TEST(MarkPrompt, ALongerConversationFindsTheOneBefore) {
  v1::GenerateRequest longer = Chat();
  Say(v1::ROLE_USER, std::string(200, 'v'), longer);
  EXPECT_EQ(Common(Chat(), longer), 600U);
  longer.mutable_prompt()->mutable_chat()->mutable_messages(2)->set_content("something else");
  EXPECT_EQ(Common(Chat(), longer), 300U);
}

TEST(MarkPrompt, WhatWorkersTellApartHasNoMarkInCommon) {
  const std::function<void(v1::GenerateRequest&)> changes[] = {
      [](auto& r) { r.set_cache_salt("another"); },
      [](auto& r) { r.clear_cache_salt(); },
      [](auto& r) { r.mutable_prompt()->mutable_chat()->mutable_messages(0)->set_content("s"); },
      [](auto& r) {
        r.mutable_prompt()->mutable_chat()->mutable_messages(0)->set_role(v1::ROLE_USER);
      },
      [](auto& r) {
        r.mutable_prompt()->mutable_chat()->mutable_messages(0)->add_tool_calls()->set_name("f");
      },
      // The same bytes, parted elsewhere.
      [](auto& r) {
        auto& messages = *r.mutable_prompt()->mutable_chat()->mutable_messages();
        messages[0].set_content(std::string(99, 's'));
        messages[1].set_content("s" + std::string(200, 'u'));
      },
  };
  for (const auto& change : changes) {
    v1::GenerateRequest changed = Chat();
    change(changed);
    EXPECT_EQ(Common(Chat(), changed), 0U) << changed.ShortDebugString();
  }
  const PromptMarks other = MarkPrompt(Chat(), {4, 5}, "");
  EXPECT_NE(other.list[0].hash, Mark(Chat()).list[0].hash);
}

TEST(MarkPrompt, OptionsThatChangeNoPromptChangeNoMark) {
  v1::GenerateRequest other = Chat();
  other.set_seed(7);
  other.set_max_tokens(5);
  other.mutable_reasoning_sampling()->set_temperature(1);
  EXPECT_EQ(Common(Chat(), other), 600U);
}

TEST(MarkPrompt, LongTextsHaveMarksInside) {
  v1::GenerateRequest text;
  text.mutable_prompt()->set_text(std::string(10 * kPieceBytes + 17, 't'));
  EXPECT_EQ(Mark(text).list.size(), 10U);
  EXPECT_EQ(Mark(text).bytes, 10 * kPieceBytes + 17);
  v1::GenerateRequest other = text;
  (*other.mutable_prompt()->mutable_text())[5 * kPieceBytes + 1] = 'u';
  EXPECT_EQ(Common(text, other), 5 * kPieceBytes);
  // A message of the same bytes is rendered otherwise.
  v1::GenerateRequest chat;
  Say(v1::ROLE_USER, text.prompt().text(), chat);
  EXPECT_EQ(Common(text, chat), 0U);
  // Two questions about one document.
  v1::GenerateRequest asked = chat;
  asked.mutable_prompt()->mutable_chat()->mutable_messages(0)->mutable_content()->append("Why?");
  EXPECT_EQ(Common(chat, asked), 10 * kPieceBytes);
}

TEST(MarkPrompt, IdsHaveMarksToo) {
  v1::GenerateRequest ids;
  for (int i = 0; i < 1000; ++i) ids.mutable_prompt()->mutable_token_ids()->add_ids(i);
  EXPECT_EQ(Mark(ids).bytes, MakeQuery(ids).prompt_bytes);
  v1::GenerateRequest longer = ids;
  for (int i = 0; i < 1000; ++i) longer.mutable_prompt()->mutable_token_ids()->add_ids(i);
  EXPECT_EQ(Common(ids, longer), 3 * kPieceBytes);
}

TEST(MarkPrompt, ShortBeginningsAndNoPromptHaveNone) {
  v1::GenerateRequest request;
  EXPECT_TRUE(Mark(request).list.empty());
  Say(v1::ROLE_USER, "1+1?", request);
  EXPECT_TRUE(Mark(request).list.empty());
  Say(v1::ROLE_ASSISTANT, std::string(kMinMarkBytes, '2'), request);
  EXPECT_EQ(Mark(request).list.size(), 1U);
}

TEST(MarkPrompt, TheFirstMessageIsFoundHoweverLongTheConversationIs) {
  v1::GenerateRequest one = Chat();
  v1::GenerateRequest other = Chat();
  other.mutable_prompt()->mutable_chat()->mutable_messages(1)->set_content("another question");
  for (int i = 0; i < 4000; ++i) {
    Say(i % 2 == 0 ? v1::ROLE_USER : v1::ROLE_ASSISTANT, "go on", one);
    Say(i % 2 == 0 ? v1::ROLE_USER : v1::ROLE_ASSISTANT, "go on", other);
  }
  EXPECT_EQ(Common(one, other), 100U);
  EXPECT_LE(Mark(one).list.size(), 100U);
}

}  // namespace
}  // namespace thinkwire::router

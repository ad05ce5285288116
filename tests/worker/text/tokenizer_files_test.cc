#include "worker/text/tokenizer_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "tests/worker/text/test_tokenizer.h"

namespace thinkwire::worker::text {
namespace {

using Json = nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int32_t kNext = 260;  // the id after the tiny file's own

// The tiny tokenizer.json beside other files, by name.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadBeside(const std::map<std::string, Json>& others) {
  std::map<std::string, std::string> files = {{"tokenizer.json", TinyTokenizerJson().dump()}};
  for (const auto& [name, json] : others) files[name] = json.dump();
  return LoadFiles(files);
}

std::unique_ptr<Tokenizer> LoadRight(const std::map<std::string, Json>& others) {
  auto tokenizer = LoadBeside(others);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

std::string Refusal(const std::map<std::string, Json>& others) {
  return std::string(LoadBeside(others).status().message());
}

Json Token(const std::string& content, bool special = false) {
  return {{"content", content},  {"lstrip", false},      {"rstrip", false},
          {"normalized", false}, {"single_word", false}, {"special", special}};
}

TEST(TokenizerFilesTest, TokensOfTheDecoderFollowTheFilesOwn) {
  const auto tokenizer = LoadRight(
      {{"tokenizer_config.json",
        {{"added_tokens_decoder", {{"261", Token("<pad>", true)}, {"260", Token("<tool>")}}}}}});
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_THAT(tokenizer->Encode("a<tool>b<pad>"), ElementsAre('a', kNext, 'b', kNext + 1));
  EXPECT_FALSE(tokenizer->IsSpecial(kNext));
  EXPECT_TRUE(tokenizer->IsSpecial(kNext + 1));
  EXPECT_THAT(tokenizer->warnings(),
              ElementsAre(AllOf(HasSubstr("tokenizer_config.json: adds 2 tokens"),
                                HasSubstr("<tool>, <pad>"))));
}

TEST(TokenizerFilesTest, AnIdThatAnotherPlaceGivesIsRefused) {
  EXPECT_THAT(
      Refusal({{"tokenizer_config.json", {{"added_tokens_decoder", {{"265", Token("<tool>")}}}}}}),
      AllOf(HasSubstr("\"<tool>\" has id 265"), HasSubstr("its place gives 260")));
  EXPECT_THAT(Refusal({{"added_tokens.json", {{"<tool>", 265}}}}),
              HasSubstr("its place gives 260"));
}

TEST(TokenizerFilesTest, TokensOfAddedTokensJsonAreTakenIn) {
  const auto tokenizer =
      LoadRight({{"added_tokens.json", {{"<tool>", 261}, {"<pad>", 260}, {"<think>", 258}}},
                 {"tokenizer_config.json", {{"pad_token", "<pad>"}}}});
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_THAT(tokenizer->Encode("<tool><pad><think>"), ElementsAre(261, 260, 258));
  EXPECT_TRUE(tokenizer->IsSpecial(260));
  EXPECT_FALSE(tokenizer->IsSpecial(261));
  EXPECT_THAT(tokenizer->warnings(), ElementsAre(HasSubstr("added_tokens.json: adds 2 tokens")));
}

TEST(TokenizerFilesTest, WhereThereIsADecoderTheOldFilesAreNotRead) {
  const auto tokenizer =
      LoadRight({{"added_tokens.json", {{"<tool>", 260}}},
                 {"special_tokens_map.json", {{"eos_token", "<think>"}}},
                 {"tokenizer_config.json",
                  {{"added_tokens_decoder", Json::object()}, {"eos_token", "<s>"}}}});
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_GT(tokenizer->Encode("<tool>").size(), 1U);
  EXPECT_EQ(tokenizer->eos_id(), 259);
  EXPECT_THAT(tokenizer->warnings(),
              ElementsAre(AllOf(HasSubstr("added_tokens.json: is not obeyed"), HasSubstr("<tool>")),
                          AllOf(HasSubstr("special_tokens_map.json: eos_token \"<think>\" is not"),
                                HasSubstr("\"<s>\""))));
}

TEST(TokenizerFilesTest, TheDecodersOptionsAreObeyed) {
  Json think = Token("<think>");
  think["rstrip"] = true;
  const auto tokenizer =
      LoadRight({{"tokenizer_config.json", {{"added_tokens_decoder", {{"258", think}}}}}});
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_THAT(tokenizer->Encode("<think>  b"), ElementsAre(258, 'b'));
  EXPECT_THAT(tokenizer->warnings(), ElementsAre(AllOf(HasSubstr("added_tokens_decoder is obeyed"),
                                                       HasSubstr("<think>"))));
}

TEST(TokenizerFilesTest, TheMapOfSpecialTokensGoesBeforeTheConfig) {
  const auto tokenizer = LoadRight({{"special_tokens_map.json", {{"eos_token", "<think>"}}},
                                    {"tokenizer_config.json", {{"eos_token", "<s>"}}}});
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->eos_id(), 258);
  EXPECT_TRUE(tokenizer->IsSpecial(258)) << "as it is named";
  EXPECT_THAT(tokenizer->warnings(),
              ElementsAre(HasSubstr("special_tokens_map.json: eos_token \"<think>\" is obeyed")));
}

TEST(TokenizerFilesTest, NamedTokensThatNoListHasAreAdded) {
  const auto tokenizer = LoadRight({{"tokenizer_config.json",
                                     {{"pad_token", "<pad>"},
                                      {"unk_token", nullptr},
                                      {"additional_special_tokens", {"<tool>", "<s>"}}}}});
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_THAT(tokenizer->Encode("a<pad><tool>"), ElementsAre('a', kNext, kNext + 1));
  EXPECT_TRUE(tokenizer->IsSpecial(kNext));
  EXPECT_TRUE(tokenizer->IsSpecial(kNext + 1));
  EXPECT_EQ(tokenizer->num_ids(), kNext + 2);
}

TEST(TokenizerFilesTest, AVocabularysEntryThatIsNamedKeepsItsId) {
  const auto tokenizer = LoadRight({{"tokenizer_config.json", {{"eos_token", "abc"}}}});
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_EQ(tokenizer->eos_id(), 257);
  EXPECT_TRUE(tokenizer->IsSpecial(257));
  EXPECT_THAT(Refusal({{"tokenizer_config.json", {{"eos_token", "<none>"}}}}),
              AllOf(HasSubstr("tokenizer_config.json"), HasSubstr("eos_token \"<none>\"")));
}

TEST(TokenizerFilesTest, AByteThatIsNamedStaysText) {
  const auto tokenizer = LoadRight({{"tokenizer_config.json", {{"pad_token", "!"}}}});
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_THAT(tokenizer->Encode("a!"), ElementsAre('a', '!'));
  EXPECT_THAT(tokenizer->warnings(), ElementsAre(HasSubstr("pad_token \"!\"")));
}

TEST(TokenizerFilesTest, FilesThatAgreeAreNoReasonToWarn) {
  const auto tokenizer =
      LoadRight({{"special_tokens_map.json", {{"eos_token", {{"content", "<s>"}}}}},
                 {"added_tokens.json", {{"<think>", 258}}},
                 {"tokenizer_config.json", {{"eos_token", "<s>"}, {"bos_token", "<s>"}}}});
  ASSERT_NE(tokenizer, nullptr);
  EXPECT_THAT(tokenizer->warnings(), IsEmpty());
}

TEST(TokenizerFilesTest, RefusesDamagedLists) {
  EXPECT_THAT(Refusal({{"tokenizer_config.json", {{"added_tokens_decoder", {{"x", Token("a")}}}}}}),
              HasSubstr("added_tokens_decoder.x is not an id"));
  EXPECT_THAT(Refusal({{"tokenizer_config.json", {{"added_tokens_decoder", {"a"}}}}}),
              HasSubstr("added_tokens_decoder is not an object"));
  EXPECT_THAT(Refusal({{"added_tokens.json", {{"<tool>", -1}}}}),
              HasSubstr("added_tokens.json: <tool> is not an id"));
  EXPECT_THAT(Refusal({{"special_tokens_map.json", {{"pad_token", 3}}}}),
              HasSubstr("special_tokens_map.json: pad_token"));
  EXPECT_THAT(Refusal({{"tokenizer_config.json", {{"additional_special_tokens", {3}}}}}),
              HasSubstr("additional_special_tokens"));
}

}  // namespace
}  // namespace thinkwire::worker::text

// Over the published vocabularies, which are not part of the product: the folder that holds
// r1-distill-qwen, r1-distill-llama and r1, each with a tokenizer.json, is named by the environment
// variable THINKWIRE_TOKENIZERS; without it these tests are skipped.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <ostream>

#include "worker/text/chat_template.h"
#include "worker/text/detokenizer.h"
#include "worker/text/tokenizer.h"

namespace thinkwire::worker::text {
namespace {

using Ids = std::vector<std::int32_t>;

struct Vocabulary {
  std::string folder;
  std::int32_t num_ids;
  std::vector<Ids> of_texts;  // parallel to kTexts
  Ids prompt;                 // "What is 1+1?", forced thinking
};

// What GoogleTest adds to the names of the tests.
void PrintTo(const Vocabulary& vocabulary, std::ostream* out) { *out << vocabulary.folder; }

const std::string kTexts[] = {
    "Hello, world!", "What is 1+1=12345?",      "  def f(x):\n    return x\n\n",
    "I'll DON'T",    "你好，世界 café",         "🙂 naïve\r\n",
    "Cafe\u0301",    "<think>\n\n</think>\n\n",
};

const Vocabulary kVocabularies[] = {
    {"r1-distill-qwen",
     151665,
     {{9707, 11, 1879, 0},
      {3838, 374, 220, 16, 10, 16, 28, 16, 17, 18, 19, 20, 30},
      {220, 707, 282, 2075, 982, 262, 470, 856, 271},
      {40, 3278, 44273, 17323},
      {108386, 3837, 99489, 51950},
      {145080, 94880, 586, 319},
      {34, 2577, 963},
      {151648, 271, 151649, 271}},
     {151646, 151644, 3838, 374, 220, 16, 10, 16, 30, 151645, 151648, 198}},
    {"r1-distill-llama",
     128256,
     {{9906, 11, 1917, 0},
      {3923, 374, 220, 16, 10, 16, 28, 4513, 1774, 30},
      {220, 711, 282, 2120, 997, 262, 471, 865, 271},
      {40, 3358, 45373, 17773},
      {57668, 53901, 3922, 102616, 53050},
      {9468, 19044, 95980, 588, 319},
      {34, 5763, 54939},
      {128013, 271, 128014, 271}},
     {128000, 128011, 3923, 374, 220, 16, 10, 16, 30, 128012, 128013, 198}},
    {"r1",
     128815,
     {{19923, 14, 2058, 3},
      {3085, 344, 223, 19, 13, 19, 31, 6895, 1883, 33},
      {223, 1351, 285, 4042, 3395, 361, 1354, 1527, 271},
      {43, 5922, 74524, 67322},
      {30594, 303, 3427, 57664},
      {80300, 227, 112752, 204, 201},
      {37, 15702, 17793},
      {128798, 271, 128799, 271}},
     {0, 128803, 3085, 344, 223, 19, 13, 19, 33, 128804, 128798, 201}},
};

class TokenizerFullVocabulary : public testing::TestWithParam<Vocabulary> {
 protected:
  void SetUp() override {
    const char* folder = std::getenv("THINKWIRE_TOKENIZERS");
    if (folder == nullptr) GTEST_SKIP() << "no full vocabularies: THINKWIRE_TOKENIZERS is not set";
    auto loaded = Tokenizer::Load(std::filesystem::path(folder) / GetParam().folder);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    tokenizer_ = *std::move(loaded);
  }

  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_P(TokenizerFullVocabulary, EncodesTheKnownVectors) {
  EXPECT_EQ(tokenizer_->num_ids(), GetParam().num_ids);
  EXPECT_EQ(tokenizer_->num_missing_bytes(), 0);
  for (std::size_t i = 0; i < std::size(kTexts); ++i) {
    EXPECT_EQ(tokenizer_->Encode(kTexts[i]), GetParam().of_texts[i]) << kTexts[i];
  }
}

TEST_P(TokenizerFullVocabulary, RendersTheForcedPrompt) {
  const auto chat = ChatTemplate::Create(*tokenizer_, DetectTemplateKind(*tokenizer_));
  ASSERT_TRUE(chat.ok()) << chat.status();
  const std::vector<ChatMessage> messages = {{Role::kUser, "What is 1+1?"}};
  EXPECT_EQ(*chat->Render(messages, ThinkingMode::kForced), GetParam().prompt);
}

TEST_P(TokenizerFullVocabulary, NoAddedTokenFromItsOwnText) {
  for (std::int32_t id = 0; id < tokenizer_->num_ids(); ++id) {
    if (!tokenizer_->IsAdded(id)) continue;
    const std::string content(tokenizer_->TokenBytes(id));
    EXPECT_EQ(tokenizer_->Encode(content), Ids{id});
    for (const std::int32_t user_id : tokenizer_->EncodeUserText(content)) {
      EXPECT_FALSE(tokenizer_->IsAdded(user_id)) << content;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Family, TokenizerFullVocabulary, testing::ValuesIn(kVocabularies),
                         [](const testing::TestParamInfo<Vocabulary>& info) {
                           std::string name = info.param.folder;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace thinkwire::worker::text

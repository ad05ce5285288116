#include "worker/text/tokenizer.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "common/utf8.h"
#include "tests/worker/text/test_tokenizer.h"

namespace thinkwire::worker::text {
namespace {

using Ids = std::vector<std::int32_t>;

TEST(Tokenizer, EncodesAsHuggingFace) {
  for (const char* name : kSmallTokenizers) {
    const std::unique_ptr<Tokenizer> tokenizer = LoadSmall(name);
    for (const nlohmann::json& row : ReadJsonLines(name, "encode.jsonl")) {
      const std::string text = row["text"];
      EXPECT_EQ(tokenizer->Encode(text), row["ids"].get<Ids>()) << name << " " << row["text"];
      EXPECT_EQ(tokenizer->EncodeUserText(text), row["user_ids"].get<Ids>())
          << name << " " << row["text"];
    }
  }
}

// What one call remembers must not show in another, in any order and from any thread.
TEST(Tokenizer, EncodesTheSameFromManyThreads) {
  const std::unique_ptr<Tokenizer> tokenizer = LoadSmall("qwen-small");
  const std::vector<nlohmann::json> rows = ReadJsonLines("qwen-small", "encode.jsonl");
  std::vector<std::size_t> num_wrong(4);
  {
    std::vector<std::jthread> threads;
    for (std::size_t thread = 0; thread < num_wrong.size(); ++thread) {
      threads.emplace_back([&, thread] {
        for (std::size_t i = 0; i < 2 * rows.size(); ++i) {
          const nlohmann::json& row = rows[(i + thread * 50) % rows.size()];
          const std::string text = row["text"];
          num_wrong[thread] += tokenizer->EncodeUserText(text) != row["user_ids"].get<Ids>();
          num_wrong[thread] += tokenizer->Encode(text) != row["ids"].get<Ids>();
        }
      });
    }
  }
  EXPECT_EQ(num_wrong, std::vector<std::size_t>(4));
}

TEST(Tokenizer, UserTextYieldsNoAddedToken) {
  for (const char* name : kSmallTokenizers) {
    const std::unique_ptr<Tokenizer> tokenizer = LoadSmall(name);
    for (std::int32_t id = 0; id < tokenizer->num_ids(); ++id) {
      if (!tokenizer->IsAdded(id)) continue;
      for (const std::int32_t user_id : tokenizer->EncodeUserText(tokenizer->TokenBytes(id))) {
        EXPECT_FALSE(tokenizer->IsAdded(user_id)) << tokenizer->TokenBytes(id);
      }
    }
  }
}

// Added tokens that plain merging reaches: `abc`, and `xyz` by ignore_merges alone.
TEST(Tokenizer, UserTextAvoidsAddedTokensThatMergingReaches) {
  nlohmann::json json = TinyTokenizerJson();
  json["model"]["vocab"]["xyz"] = 258;
  json["model"]["ignore_merges"] = true;
  json["added_tokens"] = {{{"id", 257}, {"content", "abc"}, {"special", true}},
                          {{"id", 258}, {"content", "xyz"}, {"special", false}}};
  const auto tokenizer = LoadText(json.dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->Encode("abc"), Ids{257});
  EXPECT_EQ((*tokenizer)->EncodeUserText("abc"), (Ids{256, 'c'}));
  EXPECT_EQ((*tokenizer)->EncodeUserText("xyz"), (Ids{'x', 'y', 'z'}));
  EXPECT_EQ((*tokenizer)->EncodeUserText("zabcxyz"), (Ids{'z', 256, 'c', 'x', 'y', 'z'}));
}

TEST(Tokenizer, TokenBytesJoinToTheText) {
  const std::unique_ptr<Tokenizer> tokenizer = LoadSmall("r1-small");
  for (const nlohmann::json& row : ReadJsonLines("r1-small", "encode.jsonl")) {
    std::string joined;
    for (const std::int32_t id : row["ids"].get<Ids>()) joined += tokenizer->TokenBytes(id);
    EXPECT_EQ(joined, row["text"].get<std::string>());
  }
}

TEST(Tokenizer, KnowsItsTokens) {
  const auto loaded = LoadText(TinyTokenizerJson().dump());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const Tokenizer& tokenizer = **loaded;
  EXPECT_EQ(tokenizer.num_ids(), 260);
  EXPECT_EQ(tokenizer.num_missing_bytes(), 0);
  EXPECT_EQ(tokenizer.TokenId("abc"), 257);
  EXPECT_EQ(tokenizer.TokenId(" "), 32);
  EXPECT_EQ(tokenizer.TokenId("<s>"), 259);
  EXPECT_EQ(tokenizer.TokenId("nothing"), std::nullopt);
  EXPECT_TRUE(tokenizer.IsAdded(258));
  EXPECT_FALSE(tokenizer.IsSpecial(258));
  EXPECT_TRUE(tokenizer.IsSpecial(259));
  EXPECT_FALSE(tokenizer.IsAdded(257));
  EXPECT_EQ(tokenizer.TokenBytes(256), "ab");
  EXPECT_EQ(tokenizer.TokenBytes(260), "");
  EXPECT_EQ(tokenizer.TokenBytes(-1), "");
  EXPECT_EQ(tokenizer.think_begin_id(), 258);
  EXPECT_EQ(tokenizer.think_end_id(), std::nullopt);
  EXPECT_EQ(tokenizer.bos_id(), std::nullopt);
}

TEST(Tokenizer, InvalidUtf8CountsAsReplacement) {
  const auto tokenizer = LoadText(TinyTokenizerJson().dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->Encode("a\xFF<s>"),
            (*tokenizer)->Encode("a" + std::string(kReplacementCharacter) + "<s>"));
  EXPECT_EQ((*tokenizer)->EncodeUserText("\xC3"),
            (*tokenizer)->EncodeUserText(kReplacementCharacter));
}

TEST(Tokenizer, MissingBytesAreCountedAndYieldNothing) {
  nlohmann::json json = TinyTokenizerJson();
  json["model"]["vocab"].erase("z");
  json["model"]["vocab"]["zz"] = 'z';
  const auto tokenizer = LoadText(json.dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->num_missing_bytes(), 1);
  EXPECT_EQ((*tokenizer)->Encode("azb"), (Ids{256}));
}

}  // namespace
}  // namespace thinkwire::worker::text

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "common/input_limits.h"
#include "tests/worker/text/test_tokenizer.h"

namespace thinkwire::worker::text {
namespace {

using Json = nlohmann::json;

// Changes the tiny file, loads it and expects to be refused with `code` and a message with `words`.
void ExpectRefused(const std::function<void(Json&)>& change, absl::StatusCode code,
                   const std::string& words) {
  Json json = TinyTokenizerJson();
  change(json);
  const absl::Status status = LoadText(json.dump()).status();
  EXPECT_EQ(status.code(), code) << status << " for " << words;
  EXPECT_NE(status.ToString().find("tokenizer.json"), std::string::npos) << status;
  EXPECT_NE(status.ToString().find(words), std::string::npos) << status << " lacks " << words;
}

void ExpectDamaged(const std::string& words, const std::function<void(Json&)>& change) {
  ExpectRefused(change, absl::StatusCode::kInvalidArgument, words);
}

void ExpectUnsupported(const std::string& words, const std::function<void(Json&)>& change) {
  ExpectRefused(change, absl::StatusCode::kUnimplemented, words);
}

TEST(TokenizerLoad, NeedsTheFile) {
  const absl::Status status = Tokenizer::Load("/nonexistent").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(status.ToString().find("/nonexistent/tokenizer.json"), std::string::npos);
}

TEST(TokenizerLoad, RefusesEveryTruncation) {
  const std::string whole = TinyTokenizerJson().dump();
  for (std::size_t size = 0; size < whole.size(); size += 37) {
    EXPECT_EQ(LoadText(whole.substr(0, size)).status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_TRUE(LoadText(whole).ok());
}

TEST(TokenizerLoad, RefusesDamagedVocabularies) {
  ExpectDamaged("model.vocab", [](Json& j) { j["model"]["vocab"] = 3; });
  ExpectDamaged("model is not an object", [](Json& j) { j["model"] = "x"; });
  for (const Json& id :
       {Json(-1), Json(1 << 22), Json(1.5), Json("1"), Json(nullptr), Json(1e300)}) {
    ExpectDamaged("model.vocab[\"ab\"]", [&](Json& j) { j["model"]["vocab"]["ab"] = id; });
  }
  ExpectDamaged("another token", [](Json& j) { j["model"]["vocab"]["ab"] = 257; });
}

TEST(TokenizerLoad, RefusesMoreMergesThanRanksCanNumber) {
  ExpectDamaged("model.merges has 1048576 entries; at most 1048575", [](Json& j) {
    j["model"]["merges"] = std::vector<std::string>(kMaxMerges + 1, "a b");
  });
}

TEST(TokenizerLoad, RefusesDamagedMerges) {
  ExpectDamaged("model.merges[0] needs \"q?\"", [](Json& j) { j["model"]["merges"][0] = "q? b"; });
  ExpectDamaged("model.merges[1] needs \"bc\"", [](Json& j) { j["model"]["merges"][1] = "b c"; });
  for (const Json& merge :
       {Json("a"), Json("a b c"), Json(1), Json({"a"}), Json({"a", 1}), Json(" a")}) {
    ExpectDamaged("model.merges[1]", [&](Json& j) { j["model"]["merges"][1] = merge; });
  }
  ExpectDamaged("model.merges", [](Json& j) { j["model"].erase("merges"); });
}

TEST(TokenizerLoad, RefusesDamagedAddedTokens) {
  ExpectDamaged("added_tokens", [](Json& j) { j["added_tokens"] = 1; });
  ExpectDamaged("added_tokens[0]", [](Json& j) { j["added_tokens"][0] = 1; });
  ExpectDamaged("added_tokens[0].content", [](Json& j) { j["added_tokens"][0]["content"] = ""; });
  ExpectDamaged("added_tokens[1].special", [](Json& j) { j["added_tokens"][1]["special"] = 1; });
  ExpectDamaged("has id 300, its place gives 259",
                [](Json& j) { j["added_tokens"][1]["id"] = 300; });
  ExpectDamaged("has id 5, its place gives 258", [](Json& j) { j["added_tokens"][0]["id"] = 5; });
  ExpectDamaged("is there twice", [](Json& j) { j["added_tokens"][1]["content"] = "<think>"; });
  ExpectUnsupported("entry for a byte", [](Json& j) {
    j["added_tokens"] = {{{"id", 97}, {"content", "a"}}};
  });
}

TEST(TokenizerLoad, RefusesWhatWouldChangeTheIds) {
  ExpectUnsupported("model.type", [](Json& j) { j["model"]["type"] = "Unigram"; });
  ExpectUnsupported("model.dropout", [](Json& j) { j["model"]["dropout"] = 0.1; });
  ExpectUnsupported("model.byte_fallback", [](Json& j) {
    j["model"]["byte_fallback"] = true;
    j["model"]["vocab"].erase("z");
    j["model"]["vocab"]["zz"] = 'z';
  });
  ExpectUnsupported("end_of_word_suffix",
                    [](Json& j) { j["model"]["end_of_word_suffix"] = "</w>"; });
  ExpectUnsupported("model.novelty", [](Json& j) { j["model"]["novelty"] = true; });
  ExpectUnsupported("model.unk_token", [](Json& j) {
    j["model"]["unk_token"] = "ab";
    j["model"]["vocab"].erase("z");
    j["model"]["vocab"]["zz"] = 'z';
  });
  ExpectUnsupported("normalizer.type", [](Json& j) { j["normalizer"] = {{"type", "NFKC"}}; });
  ExpectUnsupported("normalizer.normalizers[0].type", [](Json& j) {
    j["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "Lowercase"}}}}};
  });
  ExpectUnsupported("decoder.type Metaspace is not supported",
                    [](Json& j) { j["decoder"]["type"] = "Metaspace"; });
}

// As a tokenizer class of SentencePiece's saves the family's file.
TEST(TokenizerLoad, SaysWhereToGetWhatAnotherClassHasSaved) {
  const char* advice = "take the original tokenizer.json";
  ExpectUnsupported(advice, [](Json& j) {
    j["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "▁"}};
  });
  ExpectUnsupported(advice, [](Json& j) {
    j["normalizer"] = {{"type", "Sequence"},
                       {"normalizers", {{{"type", "Prepend"}, {"prepend", "▁"}}}}};
  });
  ExpectUnsupported(advice, [](Json& j) { j["decoder"] = {{"type", "Sequence"}}; });
}

// What save_pretrained leaves after a training script. transformers switches both off when it
// encodes without being asked for them.
TEST(TokenizerLoad, TruncationAndPaddingChangeNoId) {
  Json json = TinyTokenizerJson();
  const auto plain = LoadText(json.dump());
  json["truncation"] = {
      {"direction", "Right"}, {"max_length", 2048}, {"strategy", "LongestFirst"}, {"stride", 0}};
  json["padding"] = {{"strategy", {{"Fixed", 8192}}},
                     {"direction", "Left"},
                     {"pad_id", 0},
                     {"pad_type_id", 0},
                     {"pad_token", "!"},
                     {"pad_to_multiple_of", 8}};
  const auto saved = LoadText(json.dump());
  ASSERT_TRUE(plain.ok() && saved.ok()) << plain.status() << saved.status();
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "xy";
  EXPECT_EQ((*saved)->Encode(text).size(), 6000U);
  EXPECT_EQ((*saved)->Encode(text), (*plain)->Encode(text));
  EXPECT_EQ((*saved)->EncodeUserText("abc ab"), (*plain)->EncodeUserText("abc ab"));
}

TEST(TokenizerLoad, ByteFallbackChangesNothingWhereEveryByteHasAnEntry) {
  Json json = TinyTokenizerJson();
  json["model"]["byte_fallback"] = true;
  const auto tokenizer = LoadText(json.dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->Encode("ü"), (std::vector<std::int32_t>{0xC3, 0xBC}));
}

TEST(TokenizerLoad, IdsThatOnlyAddedTokensNeedAreCountedApart) {
  Json json = TinyTokenizerJson();
  json["added_tokens"].push_back({{"id", 260}, {"content", "<pad>"}, {"special", true}});
  const auto tokenizer = LoadText(json.dump(), R"({"bos_token": "<s>"})");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->num_ids(), 261);
  EXPECT_EQ((*tokenizer)->num_needed_ids(), 260);
}

TEST(TokenizerLoad, RefusesOtherPreTokenizers) {
  ExpectUnsupported("pre_tokenizer", [](Json& j) { j["pre_tokenizer"] = nullptr; });
  ExpectUnsupported("pre_tokenizer.use_regex",
                    [](Json& j) { j["pre_tokenizer"]["use_regex"] = true; });
  ExpectUnsupported("add_prefix_space",
                    [](Json& j) { j["pre_tokenizer"].erase("add_prefix_space"); });
  const auto with_split = [](Json& j, const std::string& key, const Json& value) {
    Json split = {{"type", "Split"}, {"pattern", {{"Regex", "a"}}}, {"behavior", "Isolated"}};
    split[key] = value;
    j["pre_tokenizer"] = {{"type", "Sequence"},
                          {"pretokenizers", Json::array({split, j["pre_tokenizer"]})}};
  };
  ExpectUnsupported("pretokenizers[0].behavior",
                    [&](Json& j) { with_split(j, "behavior", "Removed"); });
  ExpectUnsupported("pretokenizers[0].invert", [&](Json& j) { with_split(j, "invert", true); });
  ExpectUnsupported("pretokenizers[0].pattern", [&](Json& j) {
    with_split(j, "pattern", {{"String", "a"}});
  });
  ExpectUnsupported("^", [&](Json& j) { with_split(j, "pattern", {{"Regex", "^"}}); });
  ExpectDamaged("(", [&](Json& j) { with_split(j, "pattern", {{"Regex", "("}}); });
  ExpectUnsupported("pretokenizers[0].type", [&](Json& j) { with_split(j, "type", "Digits"); });
}

TEST(TokenizerLoad, RefusesKeysThatAreThereTwice) {
  const std::string whole = TinyTokenizerJson().dump();
  const auto refusal = [&](const std::string& old_text, const std::string& new_text) {
    std::string changed = whole;
    const std::size_t at = changed.find(old_text);
    EXPECT_NE(at, std::string::npos) << old_text;
    return LoadText(changed.replace(at, old_text.size(), new_text)).status();
  };
  const absl::Status piece = refusal("\"abc\":257", "\"abc\":257,\"abc\":257");
  EXPECT_EQ(piece.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(piece.ToString().find("key \"abc\" appears twice in model.vocab"), std::string::npos)
      << piece;
  const absl::Status part = refusal("\"normalizer\":null", "\"normalizer\":null,\"model\":{}");
  EXPECT_NE(part.ToString().find("key \"model\" appears twice"), std::string::npos) << part;
  const absl::Status config =
      LoadText(whole, R"({"bos_token": "<s>", "bos_token": "<think>"})").status();
  EXPECT_EQ(config.code(), absl::StatusCode::kInvalidArgument) << config;
}

TEST(TokenizerLoad, DeepNestingIsNoDanger) {
  std::string deep;
  for (int i = 0; i < 200'000; ++i) deep += "{\"type\":\"Sequence\",\"normalizers\":[";
  EXPECT_FALSE(LoadText("{\"normalizer\":" + deep).ok());
  EXPECT_FALSE(LoadText(std::string(1'000'000, '[')).ok());
}

// Cuts by `pattern`, so many times one after another.
void SplitBy(std::size_t steps, const std::string& pattern, Json& j) {
  Json split = Json::parse(R"({"type": "Split", "behavior": "Isolated", "pattern": {}})");
  split["pattern"]["Regex"] = pattern;
  Json all = Json::array();
  for (std::size_t i = 0; i < steps; ++i) all.push_back(split);
  all.push_back(j["pre_tokenizer"]);
  j["pre_tokenizer"] = Json::object();
  j["pre_tokenizer"]["type"] = "Sequence";
  j["pre_tokenizer"]["pretokenizers"] = all;
}

TEST(TokenizerLoad, RefusesMoreThanItsLimits) {
  const auto split_by = [](std::size_t steps, const std::string& pattern) {
    return [steps, pattern](Json& j) { SplitBy(steps, pattern, j); };
  };
  ExpectDamaged("has 17 steps of Split; at most 16", split_by(17, "a"));
  ExpectDamaged("has 16385 bytes; at most 16384", split_by(1, std::string(16'385, 'a')));
  ExpectDamaged("added_tokens[0].content has 4097 bytes",
                [](Json& j) { j["added_tokens"][0]["content"] = std::string(4097, 'a'); });
  Json json = TinyTokenizerJson();
  split_by(16, "a")(json);
  const auto tokenizer = LoadText(json.dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_FALSE((*tokenizer)->Encode("abcabc").empty());
}

TEST(TokenizerLoad, WhatIsSaidOfLongNamesIsShort) {
  const std::string name(100'000, '(');
  const std::vector<std::function<void(Json&)>> changes = {
      [&](Json& j) { j["model"]["vocab"][name] = -1; },
      [&](Json& j) { j["model"]["merges"][0] = name + " b"; },
      [&](Json& j) { j["model"][name] = 1; },
      [&](Json& j) { j["model"]["type"] = name; },
      [&](Json& j) { j["decoder"]["type"] = name; },
      [&](Json& j) { SplitBy(1, name.substr(0, 10'000), j); },
  };
  for (const auto& change : changes) {
    Json json = TinyTokenizerJson();
    change(json);
    const absl::Status status = LoadText(json.dump()).status();
    EXPECT_FALSE(status.ok());
    EXPECT_LT(status.message().size(), 600U) << status;
  }
}

TEST(TokenizerLoad, TakesBosAndEosFromTheConfig) {
  const std::string json = TinyTokenizerJson().dump();
  const auto tokenizer =
      LoadText(json, R"({"bos_token": {"content": "<s>"}, "eos_token": "<think>"})");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->bos_id(), 259);
  EXPECT_EQ((*tokenizer)->eos_id(), 258);
  for (const char* config : {"{", "[]", R"({"bos_token": 3})", R"({"eos_token": "<none>"})"}) {
    const absl::Status status = LoadText(json, config).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << config;
    EXPECT_NE(status.ToString().find("tokenizer_config.json"), std::string::npos) << status;
  }
}

}  // namespace
}  // namespace thinkwire::worker::text

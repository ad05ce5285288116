#include "worker/text/gguf_tokenizer_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <ostream>
#include <string>
#include <variant>
#include <vector>

#include "common/gguf_file.h"
#include "tests/worker/text/test_tokenizer.h"
#include "worker/text/known_templates.h"
#include "worker/text/tokenizer.h"

namespace thinkwire::worker::text {
namespace {

using testing::HasSubstr;

constexpr char kBundled[] = "deploy/models/tiny-r1";

// A folder of its own, gone with the object.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string folder = testing::TempDir() + "/thinkwire-gguf-writer-XXXXXX";
    EXPECT_NE(mkdtemp(folder.data()), nullptr);
    path_ = folder;
  }
  ~ScratchFolder() { std::filesystem::remove_all(path_); }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  std::filesystem::path Write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return path_ / name;
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct Model {
  const char* name;
  const char* folder;
  const char* texts;  // of tests/data/tokenizers
};
void PrintTo(const Model& model, std::ostream* out) { *out << model.name; }

class GgufTokenizerWriterTest : public testing::TestWithParam<Model> {
 protected:
  std::filesystem::path Written() const {
    GgufHeader header;
    const absl::Status status = AddGgufTokenizer(GetParam().folder, {.num_rows = 720}, header);
    EXPECT_TRUE(status.ok()) << status;
    return folder_.Write("x.gguf", header.Bytes());
  }

  const ScratchFolder folder_;
};

TEST_P(GgufTokenizerWriterTest, TheFileGivesTheIdsOfTheFolder) {
  const auto gguf = Tokenizer::Load(Written());
  const auto original = Tokenizer::Load(GetParam().folder);
  ASSERT_TRUE(gguf.ok()) << gguf.status();
  ASSERT_TRUE(original.ok()) << original.status();
  ExpectSameIds(**gguf, **original, GetParam().texts);
}

TEST_P(GgufTokenizerWriterTest, TheFileKnowsTheSameTokens) {
  const auto gguf = *Tokenizer::Load(Written());
  const auto original = *Tokenizer::Load(GetParam().folder);
  ASSERT_EQ(gguf->num_ids(), original->num_ids());
  EXPECT_EQ(gguf->bos_id(), original->bos_id());
  EXPECT_EQ(gguf->eos_id(), original->eos_id());
  EXPECT_EQ(gguf->think_end_id(), original->think_end_id());
  for (std::int32_t id = 0; id < original->num_ids(); ++id) {
    EXPECT_EQ(gguf->TokenBytes(id), original->TokenBytes(id)) << id;
    EXPECT_EQ(gguf->IsAdded(id), original->IsAdded(id)) << id;
    EXPECT_EQ(gguf->IsSpecial(id), original->IsSpecial(id)) << id;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GgufTokenizerWriterTest,
                         testing::Values(Model{"bundled", kBundled, "qwen-small"},
                                         Model{"llama", "tests/data/tokenizers/llama-small",
                                               "llama-small"},
                                         Model{"r1", "tests/data/tokenizers/r1-small", "r1-small"}),
                         [](const auto& info) { return std::string(info.param.name); });

const GgufArray& ArrayOf(const GgufFile& file, const char* key) {
  return std::get<GgufArray>(*file.content().Find(key));
}

TEST(GgufTokenizerValuesTest, TurnsAreControlAndRowsAreFilled) {
  const ScratchFolder folder;
  GgufHeader header;
  ASSERT_TRUE(AddGgufTokenizer(kBundled, {.num_rows = 720}, header).ok());
  const GgufFile file = GgufFile::Open(folder.Write("x.gguf", header.Bytes())).value();
  const auto tokens = ArrayOf(file, "tokenizer.ggml.tokens").Strings();
  const auto types = ArrayOf(file, "tokenizer.ggml.token_type").Integers();
  ASSERT_EQ(tokens.size(), 720U);
  ASSERT_EQ(types.size(), 720U);
  const auto type_of = [&](const char* token) {
    return types[static_cast<std::size_t>(std::ranges::find(tokens, token) - tokens.begin())];
  };
  EXPECT_EQ(type_of("<｜User｜>"), 3);
  EXPECT_EQ(type_of("<｜end▁of▁sentence｜>"), 3);
  EXPECT_EQ(type_of("<think>"), 4);
  EXPECT_EQ(type_of("a"), 1);
  EXPECT_EQ(tokens.back(), "[PAD719]");
  EXPECT_EQ(types.back(), 5);
  EXPECT_EQ(std::get<std::string_view>(*file.content().Find("tokenizer.ggml.pre")),
            "deepseek-r1-qwen");
  EXPECT_TRUE(std::get<bool>(*file.content().Find("tokenizer.ggml.add_bos_token")));
}

TEST(GgufTokenizerValuesTest, TheTemplateComesAlong) {
  const ScratchFolder folder;
  GgufHeader header;
  ASSERT_TRUE(AddGgufTokenizer(kBundled, {.num_rows = 720}, header).ok());
  const auto path = folder.Write("x.gguf", header.Bytes());
  EXPECT_EQ(ReadChatTemplate(path).value(), ReadChatTemplate(kBundled).value());
  EXPECT_TRUE(ReadChatTemplate(path)->has_value());
}

TEST(GgufTokenizerValuesTest, EndsAreTheTokenizersAndOneMore) {
  const ScratchFolder folder;
  const auto own = static_cast<std::uint64_t>(Tokenizer::Load(kBundled).value()->eos_id().value());
  const std::vector<std::int32_t> ends = {7, static_cast<std::int32_t>(own)};
  GgufHeader header;
  ASSERT_TRUE(AddGgufTokenizer(kBundled, {.num_rows = 720, .end_ids = ends}, header).ok());
  const GgufFile file = GgufFile::Open(folder.Write("x.gguf", header.Bytes())).value();
  EXPECT_EQ(std::get<std::uint64_t>(*file.content().Find("tokenizer.ggml.eos_token_id")), own);
  EXPECT_EQ(std::get<std::uint64_t>(*file.content().Find("tokenizer.ggml.eot_token_id")), 7U);
}

TEST(GgufTokenizerValuesTest, RefusesWhatAFileCannotSay) {
  const ScratchFolder folder;
  const auto refusal = [&](const GgufTokenizerRows& rows) {
    GgufHeader header;
    return std::string(AddGgufTokenizer(folder.path(), rows, header).message());
  };
  nlohmann::json tokenizer =
      nlohmann::json::parse(std::ifstream(std::string(kBundled) + "/tokenizer.json"));
  const auto write = [&] { folder.Write("tokenizer.json", tokenizer.dump()); };
  EXPECT_THAT(refusal({.num_rows = 720}), HasSubstr("tokenizer.json"));
  write();
  EXPECT_EQ(refusal({.num_rows = 720}), "");
  EXPECT_THAT(refusal({.num_rows = 300}), HasSubstr("has no row in the embedding, which has 300"));
  const std::vector<std::int32_t> ends = {1, 2, 3};
  EXPECT_THAT(refusal({.num_rows = 720, .end_ids = ends}),
              HasSubstr("3 ids that end an output, 1, 2, 3"));
  tokenizer["added_tokens"][0]["lstrip"] = true;
  write();
  EXPECT_THAT(refusal({.num_rows = 720}), HasSubstr("with lstrip, rstrip or single_word, which a"));
  folder.Write("tokenizer.json", TinyTokenizerJson().dump());
  EXPECT_THAT(refusal({.num_rows = 720}), HasSubstr("splits texts as none of the family does"));
}

}  // namespace
}  // namespace thinkwire::worker::text

#include "worker/text/gguf_tokenizer.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "tests/fakes/gguf_writer.h"
#include "tests/worker/text/gguf_vocabulary.h"
#include "tests/worker/text/test_tokenizer.h"
#include "worker/text/known_templates.h"
#include "worker/text/tokenizer.h"

namespace thinkwire::worker::text {
namespace {

const std::filesystem::path kBundled = "deploy/models/tiny-r1";

nlohmann::json ReadJson(const std::filesystem::path& path) {
  return nlohmann::json::parse(std::ifstream(path));
}

// A file of its own, gone with the object.
class ScratchFile {
 public:
  explicit ScratchFile(const std::string& bytes) {
    std::string folder = testing::TempDir() + "/thinkwire-gguf-XXXXXX";
    EXPECT_NE(mkdtemp(folder.data()), nullptr);
    path_ = std::filesystem::path(folder) / "x.gguf";
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  ~ScratchFile() { std::filesystem::remove_all(path_.parent_path()); }
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::string FileOf(const std::filesystem::path& folder, const std::string& pre) {
  GgufWriter writer;
  AddTokenizer(ReadJson(folder / "tokenizer.json"), pre, 720, writer);
  return writer.File();
}

struct Model {
  const char* name;
  const char* folder;
  const char* pre;
  const char* texts;  // of tests/data/tokenizers
};
void PrintTo(const Model& model, std::ostream* out) { *out << model.name; }

class GgufTokenizerTest : public testing::TestWithParam<Model> {
 protected:
  const ScratchFile file_{FileOf(GetParam().folder, GetParam().pre)};
};

TEST_P(GgufTokenizerTest, GivesTheIdsOfTheHuggingFaceFiles) {
  const auto gguf = Tokenizer::Load(file_.path());
  const auto original = Tokenizer::Load(GetParam().folder);
  ASSERT_TRUE(gguf.ok()) << gguf.status();
  ASSERT_TRUE(original.ok()) << original.status();
  ExpectSameIds(**gguf, **original, GetParam().texts);
}

TEST_P(GgufTokenizerTest, KnowsTheSameTokens) {
  const auto gguf = *Tokenizer::Load(file_.path());
  const auto original = *Tokenizer::Load(GetParam().folder);
  EXPECT_EQ(gguf->num_ids(), original->num_ids());
  EXPECT_EQ(gguf->num_needed_ids(), original->num_needed_ids());
  EXPECT_EQ(gguf->num_missing_bytes(), original->num_missing_bytes());
  EXPECT_EQ(gguf->bos_id(), original->bos_id());
  EXPECT_EQ(gguf->eos_id(), original->eos_id());
  EXPECT_EQ(gguf->think_end_id(), original->think_end_id());
  for (std::int32_t id = 0; id < original->num_ids(); ++id) {
    EXPECT_EQ(gguf->TokenBytes(id), original->TokenBytes(id)) << id;
    EXPECT_EQ(gguf->IsAdded(id), original->IsAdded(id)) << id;
  }
  for (const auto id : {gguf->user_id(), gguf->assistant_id(), gguf->think_begin_id()}) {
    EXPECT_FALSE(gguf->IsSpecial(id.value_or(0)));
  }
  EXPECT_TRUE(gguf->IsSpecial(gguf->eos_id().value_or(0)));
}

// qwen-small has added tokens with options that a GGUF file cannot say.
INSTANTIATE_TEST_SUITE_P(
    Models, GgufTokenizerTest,
    testing::Values(Model{"bundled", "deploy/models/tiny-r1", "deepseek-r1-qwen", "qwen-small"},
                    Model{"llama", "tests/data/tokenizers/llama-small", "llama-bpe", "llama-small"},
                    Model{"r1", "tests/data/tokenizers/r1-small", "deepseek-v3", "r1-small"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(GgufTemplateTest, IsRecognisedAsTheFoldersIs) {
  GgufWriter writer;
  AddTokenizer(ReadJson(kBundled / "tokenizer.json"), "deepseek-r1-qwen", 0, writer);
  const nlohmann::json config = ReadJson(kBundled / "tokenizer_config.json");
  const ScratchFile none(writer.File());
  const auto tokenizer = *Tokenizer::Load(none.path());
  EXPECT_EQ(ChooseTemplate(none.path(), *tokenizer, false)->kind, TemplateKind::kDistill);
  GgufWriter other = writer;
  writer.Text("tokenizer.chat_template", config.at("chat_template").get<std::string>());
  const ScratchFile known(writer.File());
  const auto choice = ChooseTemplate(known.path(), *tokenizer, false);
  ASSERT_TRUE(choice.ok()) << choice.status();
  EXPECT_EQ(choice->kind, TemplateKind::kDistill);
  EXPECT_TRUE(choice->warnings.empty());
  other.Text("tokenizer.chat_template", "{{ 'another' }}");
  const ScratchFile unknown(other.File());
  const auto refused = ChooseTemplate(unknown.path(), *tokenizer, false);
  EXPECT_NE(refused.status().message().find("x.gguf: tokenizer.chat_template is not one"),
            absl::string_view::npos)
      << refused.status();
  EXPECT_TRUE(ChooseTemplate(unknown.path(), *tokenizer, true).ok());
}

// A vocabulary of three tokens, one of its values written by `write` instead.
std::string RefusalOf(const std::string& key, const std::function<void(GgufWriter&)>& write) {
  GgufWriter writer;
  const auto add = [&](const std::string& name, const std::function<void()>& original) {
    name == key ? write(writer) : original();
  };
  add("model", [&] { writer.Text("tokenizer.ggml.model", "gpt2"); });
  add("pre", [&] { writer.Text("tokenizer.ggml.pre", "qwen2"); });
  add("tokens", [&] { writer.Strings("tokenizer.ggml.tokens", {"a", "b", "ab", "<e>"}); });
  add("types", [&] { writer.I32s("tokenizer.ggml.token_type", {1, 1, 1, 3}); });
  add("merges", [&] { writer.Strings("tokenizer.ggml.merges", {"a b"}); });
  add("eos", [&] { writer.U32("tokenizer.ggml.eos_token_id", 3); });
  const ScratchFile file(writer.File());
  const auto tokenizer = Tokenizer::Load(file.path());
  if (tokenizer.ok()) return "accepted";
  return std::string(tokenizer.status().message());
}

TEST(GgufTokenizerRefusalTest, NamesTheKey) {
  const auto nothing = [](GgufWriter&) {};
  EXPECT_EQ(RefusalOf("none", nothing), "accepted");
  const auto expect = [](const std::string& key, const std::function<void(GgufWriter&)>& write,
                         const std::string& what) {
    const std::string refusal = RefusalOf(key, write);
    EXPECT_NE(refusal.find(what), std::string::npos) << refusal;
  };
  expect("model", nothing, "x.gguf: tokenizer.ggml.model is missing, or no string");
  expect(
      "model", [](GgufWriter& w) { w.Text("tokenizer.ggml.model", "llama"); },
      "tokenizer.ggml.model \"llama\" is not supported; supported: gpt2");
  expect(
      "pre", [](GgufWriter& w) { w.Text("tokenizer.ggml.pre", "gpt-2"); },
      "tokenizer.ggml.pre \"gpt-2\" is not supported; supported: deepseek-r1-qwen, qwen2");
  expect("tokens", nothing, "tokenizer.ggml.tokens is missing, or no array");
  expect(
      "tokens", [](GgufWriter& w) { w.I32s("tokenizer.ggml.tokens", {1}); },
      "tokenizer.ggml.tokens is no array of strings");
  expect(
      "tokens",
      [](GgufWriter& w) {
        w.Strings("tokenizer.ggml.tokens", {"a", "b", "\xff", "<e>"});
      },
      "tokenizer.ggml.tokens[2] is not UTF-8");
  expect(
      "tokens",
      [](GgufWriter& w) {
        w.Strings("tokenizer.ggml.tokens", {"a", "b", "a", "<e>"});
      },
      "tokenizer.ggml.tokens[2] is \"a\", as token 0 is already");
  expect(
      "types",
      [](GgufWriter& w) {
        w.I32s("tokenizer.ggml.token_type", {1, 1, 1});
      },
      "token_type has no whole number for each of 4 tokens");
  expect(
      "types",
      [](GgufWriter& w) {
        w.I32s("tokenizer.ggml.token_type", {1, 6, 1, 3});
      },
      "tokenizer.ggml.token_type[1] is 6; supported: 1, 3, 4, 5");
  expect(
      "merges", [](GgufWriter& w) { w.Strings("tokenizer.ggml.merges", {"ab"}); },
      "tokenizer.ggml.merges[0] is not \"left right\"");
  expect(
      "merges", [](GgufWriter& w) { w.Strings("tokenizer.ggml.merges", {"b a"}); },
      "model.merges[0] needs \"ba\"");
  expect(
      "eos", [](GgufWriter& w) { w.U32("tokenizer.ggml.eos_token_id", 4); },
      "tokenizer.ggml.eos_token_id is not an id below 4");
}

}  // namespace
}  // namespace thinkwire::worker::text

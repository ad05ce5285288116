#include "tests/worker/text/test_tokenizer.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "common/check.h"
#include "worker/text/byte_level.h"

namespace thinkwire::worker::text {
namespace {

const std::filesystem::path kFolder = "tests/data/tokenizers";

void WriteFile(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

}  // namespace

std::unique_ptr<Tokenizer> LoadSmall(const std::string& name) {
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Load(kFolder / name);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  CHECK(tokenizer.ok(), "tests run in the repository's root");
  return *std::move(tokenizer);
}

std::vector<nlohmann::json> ReadJsonLines(const std::string& name, const std::string& file) {
  std::vector<nlohmann::json> rows;
  std::ifstream in(kFolder / name / file);
  for (std::string line; std::getline(in, line);) rows.push_back(nlohmann::json::parse(line));
  CHECK(!rows.empty(), "the parity data is there");
  return rows;
}

void ExpectSameIds(const Tokenizer& one, const Tokenizer& other, const std::string& name) {
  for (const nlohmann::json& row : ReadJsonLines(name, "encode.jsonl")) {
    const std::string text = row["text"];
    EXPECT_EQ(one.Encode(text), other.Encode(text)) << row["text"];
    EXPECT_EQ(one.EncodeUserText(text), other.EncodeUserText(text)) << row["text"];
  }
}

nlohmann::json TinyTokenizerJson() {
  nlohmann::json vocabulary = nlohmann::json::object();
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary[SpellBytes(std::string(1, static_cast<char>(byte)))] = byte;
  }
  vocabulary["ab"] = 256;
  vocabulary["abc"] = 257;
  return {
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}},
      {"decoder", {{"type", "ByteLevel"}}},
      {"added_tokens",
       {{{"id", 258}, {"content", "<think>"}, {"special", false}, {"normalized", false}},
        {{"id", 259}, {"content", "<s>"}, {"special", true}, {"normalized", false}}}},
      {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", {"a b", "ab c"}}}}};
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadText(const std::string& text,
                                                    const std::string& config) {
  std::map<std::string, std::string> files = {{"tokenizer.json", text}};
  if (!config.empty()) files.emplace("tokenizer_config.json", config);
  return LoadFiles(files);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadFiles(
    const std::map<std::string, std::string>& files) {
  std::string folder = testing::TempDir() + "/tokenizer-XXXXXX";
  CHECK(mkdtemp(folder.data()) != nullptr, "a temporary folder can be made");
  for (const auto& [name, text] : files) WriteFile(std::filesystem::path(folder) / name, text);
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Load(folder);
  std::filesystem::remove_all(folder);
  return tokenizer;
}

}  // namespace thinkwire::worker::text

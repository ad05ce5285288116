#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/text/tokenizer.h"

namespace thinkwire::worker::text {

// "qwen-small", "llama-small", "r1-small": the folders of tests/data/tokenizers.
inline constexpr const char* kSmallTokenizers[] = {"qwen-small", "llama-small", "r1-small"};

std::unique_ptr<Tokenizer> LoadSmall(const std::string& name);

// The lines of a file in such a folder.
std::vector<nlohmann::json> ReadJsonLines(const std::string& name, const std::string& file);

// EXPECTs that both give the same ids of all texts in encode.jsonl of such a folder.
void ExpectSameIds(const Tokenizer& one, const Tokenizer& other, const std::string& name);

// A tokenizer.json that loads, to be changed by tests: all bytes have the id of their value, "ab"
// 256, "abc" 257; added tokens `<think>` 258 (plain) and `<s>` 259 (special).
nlohmann::json TinyTokenizerJson();

// Loads `text` as a model folder's tokenizer.json, with a tokenizer_config.json unless it is empty.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadText(const std::string& text,
                                                    const std::string& config = "");

// Loads a model folder of these files, texts by name.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadFiles(
    const std::map<std::string, std::string>& files);

}  // namespace thinkwire::worker::text

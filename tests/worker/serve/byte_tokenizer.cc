#include "tests/worker/serve/byte_tokenizer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

namespace thinkwire::worker::serve {
namespace {

// How byte-level BPE spells a byte: printable Latin-1 as itself, the rest from U+0100 on.
std::string SpellByte(unsigned char byte) {
  const auto printable = [](unsigned b) {
    return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
  };
  unsigned code = byte;
  if (!printable(byte)) {
    code = 0x100;
    for (unsigned b = 0; b < byte; ++b) code += printable(b) ? 0 : 1;
  }
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
}

std::string Spell(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes) out += SpellByte(static_cast<unsigned char>(byte));
  return out;
}

}  // namespace

std::string ByteTokenizerJson() {
  std::map<std::string, std::int32_t> vocabulary;
  for (int b = 0; b < 256; ++b) vocabulary[SpellByte(static_cast<unsigned char>(b))] = b;
  std::int32_t id = kFirstWord;
  for (const std::string_view word : kWords) vocabulary[Spell(word)] = id++;
  nlohmann::json added = nlohmann::json::array();
  const std::pair<const char*, bool> control[] = {{"<｜begin▁of▁sentence｜>", true},
                                                  {"<｜end▁of▁sentence｜>", true},
                                                  {"<｜User｜>", false},
                                                  {"<｜Assistant｜>", false},
                                                  {"<think>", false},
                                                  {"</think>", false}};
  id = kBos;
  for (const auto& [content, special] : control) {
    added.push_back(
        {{"id", id++}, {"content", content}, {"special", special}, {"normalized", false}});
  }
  const nlohmann::json split = {{"type", "Split"},
                                {"pattern", {{"Regex", "\\s+|\\S+"}}},
                                {"behavior", "Isolated"},
                                {"invert", false}};
  const nlohmann::json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  const nlohmann::json root = {
      {"added_tokens", added},
      {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {split, byte_level}}}},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", nlohmann::json::array()}}}};
  return root.dump();
}

std::unique_ptr<text::Tokenizer> MakeByteTokenizer() {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / ("byte_tokenizer_" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "tokenizer.json") << ByteTokenizerJson();
  std::ofstream(folder / "tokenizer_config.json")
      << R"({"bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "<｜end▁of▁sentence｜>"})";
  auto tokenizer = text::Tokenizer::Load(folder);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  std::filesystem::remove_all(folder);
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

}  // namespace thinkwire::worker::serve

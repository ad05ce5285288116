#pragma once

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/fakes/gguf_writer.h"

namespace thinkwire::worker::text {

// Adds what llama.cpp's converter writes of a tokenizer.json, with rows up to `num_rows` filled by
// tokens of type UNUSED. Control tokens are those that it takes for special: all of the form
// <｜…｜> or <|…|>, too.
inline void AddTokenizer(const nlohmann::json& tokenizer, const std::string& pre,
                         std::size_t num_rows, GgufWriter& writer) {
  constexpr std::int32_t kNormal = 1;
  constexpr std::int32_t kControl = 3;
  constexpr std::int32_t kUserDefined = 4;
  constexpr std::int32_t kUnused = 5;
  std::vector<std::string> tokens;
  std::vector<std::int32_t> types;
  const auto put = [&](std::size_t id, const std::string& token, std::int32_t type) {
    for (std::size_t i = tokens.size(); i <= id; ++i) {
      tokens.push_back("[PAD" + std::to_string(i) + "]");
      types.push_back(kUnused);
    }
    tokens[id] = token;
    types[id] = type;
  };
  for (const auto& [spelling, id] : tokenizer.at("model").at("vocab").items()) {
    put(id.get<std::size_t>(), spelling, kNormal);
  }
  for (const nlohmann::json& added : tokenizer.at("added_tokens")) {
    const std::string content = added.at("content");
    const bool looks_special = content.starts_with("<｜") || content.starts_with("<|");
    put(added.at("id").get<std::size_t>(), content,
        added.at("special") || looks_special ? kControl : kUserDefined);
  }
  if (num_rows > tokens.size()) put(num_rows - 1, "[PAD]", kUnused);
  std::vector<std::string> merges;
  for (const nlohmann::json& merge : tokenizer.at("model").at("merges")) {
    merges.push_back(merge.is_string()
                         ? merge.get<std::string>()
                         : merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  }
  const auto id_of = [&tokens](const std::string& token) {
    return static_cast<std::uint32_t>(std::find(tokens.begin(), tokens.end(), token) -
                                      tokens.begin());
  };
  writer.Text("tokenizer.ggml.model", "gpt2").Text("tokenizer.ggml.pre", pre);
  writer.Strings("tokenizer.ggml.tokens", tokens).I32s("tokenizer.ggml.token_type", types);
  writer.Strings("tokenizer.ggml.merges", merges);
  writer.U32("tokenizer.ggml.bos_token_id", id_of("<｜begin▁of▁sentence｜>"));
  // As published: a pad id that means something else.
  writer.U32("tokenizer.ggml.padding_token_id", 0);
}

}  // namespace thinkwire::worker::text

#include "worker/text/gguf_text_rules.h"

#include <algorithm>
#include <array>

namespace thinkwire::worker::text {
namespace {

constexpr std::string_view kQwen[] = {
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr std::string_view kLlama[] = {
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr std::string_view kDeepSeek[] = {R"(\p{N}{1,3})", R"([一-龥぀-ゟ゠-ヿ]+)",
                                          R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^)"
                                          "\r\n"
                                          R"(\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[)"
                                          "\r\n"
                                          R"(]*|\s*[)"
                                          "\r\n"
                                          R"(]+|\s+(?!\S)|\s+)"};
constexpr std::array<GgufPreTokenizer, 4> kPreTokenizers = {
    {{"deepseek-r1-qwen", true, false, kQwen},
     {"qwen2", true, false, kQwen},
     {"llama-bpe", false, true, kLlama},
     {"deepseek-v3", false, false, kDeepSeek}}};

constexpr std::array<std::string_view, 4> kPlain = {"<｜User｜>", "<｜Assistant｜>", "<think>",
                                                    "</think>"};

}  // namespace

std::span<const GgufPreTokenizer> GgufPreTokenizers() { return kPreTokenizers; }

const GgufPreTokenizer* GgufPreTokenizerOf(const TokenizerJson& json) {
  const auto* const found = std::ranges::find_if(kPreTokenizers, [&](const auto& known) {
    return known.nfc == json.nfc && known.ignore_merges == json.ignore_merges &&
           std::ranges::equal(known.patterns, json.split_patterns);
  });
  return found == kPreTokenizers.end() ? nullptr : found;
}

bool IsPlainInPublishedFiles(std::string_view token) {
  return std::ranges::find(kPlain, token) != kPlain.end() || token.starts_with("<｜tool▁");
}

}  // namespace thinkwire::worker::text

#pragma once

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "common/check.h"
#include "common/utf8.h"
#include "worker/grammar/grammar.h"

namespace thinkwire::worker::grammar {

// Compiles a format over the single bytes, and draws an answer, of which every mask must have
// something. A refusal must be short and UTF-8.
inline void FollowGrammar(const AnswerFormat& format, std::size_t seed) {
  static const std::shared_ptr<const Vocabulary> vocabulary = [] {
    std::vector<Vocabulary::Token> tokens;
    for (int byte = 0; byte < 256; ++byte) {
      tokens.push_back({std::string(1, static_cast<char>(byte)), byte + 1});
    }
    return *Vocabulary::Create(std::move(tokens), {0}, 257);
  }();
  const auto grammar = Grammar::Compile(format, vocabulary);
  if (!grammar.ok()) {
    const auto message = grammar.status().message();
    CHECK(message.size() < 2048, "a refusal is short");
    CHECK(IsValidUtf8({message.data(), message.size()}), "a refusal is UTF-8");
    return;
  }
  std::minstd_rand random(static_cast<unsigned>(seed));
  Matcher matcher(*grammar);
  std::vector<MaskWord> mask(vocabulary->num_words());
  for (int i = 0; i < 50; ++i) {
    matcher.NextMask(mask);
    std::vector<std::int32_t> ids;
    for (std::int32_t id = 0; id < vocabulary->num_ids(); ++id) {
      if (HasBit(mask, id)) ids.push_back(id);
    }
    CHECK(!ids.empty(), "every state leads on");
    const std::int32_t id = ids[random() % ids.size()];
    CHECK(matcher.Accept(id), "what a mask has is accepted");
    if (id == 0) return;
  }
}

}  // namespace thinkwire::worker::grammar

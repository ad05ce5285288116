#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "worker/grammar/grammar.h"

namespace thinkwire::worker::grammar {

inline constexpr std::int32_t kEndId = 0;

// Every byte as a token (id 1 + byte), `more` after them, and kEndId that ends the output.
std::shared_ptr<const Vocabulary> MakeVocabulary(const std::vector<std::string>& more = {});

// Fails the test, and ends the process, where the format is refused.
std::shared_ptr<const Grammar> MustCompile(const AnswerFormat& format,
                                           std::shared_ptr<const Vocabulary> vocabulary);

// Whether the format accepts the whole of `text`, byte by byte.
bool Accepts(const AnswerFormat& format, std::string_view text);
// Why a format is refused; empty: it is not.
std::string Refusal(const AnswerFormat& format);

// An answer drawn at random: the more tokens it has, the rather one that closes something.
struct Walk {
  std::string text;
  std::vector<std::int32_t> ids;
  bool ended = false;
  bool dead_end = false;  // no id was allowed
};
Walk RandomWalk(const std::shared_ptr<const Grammar>& grammar, std::size_t max_ids,
                std::mt19937& random);

}  // namespace thinkwire::worker::grammar

#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "router/decision/prompt_marks.h"

namespace thinkwire::bench {

// A conversation as a router and a worker see it: messages, each known by its length alone, with
// ids and hashes that no other has.
class Conversation {
 public:
  struct Turn {
    std::int32_t question = 0;   // tokens
    std::int32_t reasoning = 0;  // drawn, and no part of the next prompt
    std::int32_t answer = 0;
    double pause_s = 0;  // after it
  };

  // `app` has a system prompt of its own. REQUIRES: turns is not empty.
  Conversation(std::size_t app, std::int32_t system_tokens, std::uint64_t name,
               std::vector<Turn> turns);

  // The next turn's; false after the last.
  bool Ask();
  const Turn& turn() const { return turns_[asked_ - 1]; }
  bool is_first() const { return asked_ == 1; }

  std::string peer() const { return std::to_string(app_); }
  std::uint64_t name() const { return name_; }
  // Of the prompt.
  const std::vector<std::int32_t>& ids() const { return ids_; }
  std::int32_t tokens_of_turn_before() const { return before_; }
  router::decision::PromptMarks Marks() const;

 private:
  void Add(std::uint64_t message, std::int32_t tokens);

  const std::size_t app_;
  const std::uint64_t name_;
  const std::vector<Turn> turns_;
  std::size_t asked_ = 0;
  std::int32_t before_ = 0;
  std::vector<std::int32_t> ids_;
  std::vector<router::decision::PromptMark> ends_;  // of messages
};

// Bytes of a token, as a router estimates them of English.
inline constexpr std::size_t kBytesOfToken = 4;
// Ids are in [0, kConversationVocab).
inline constexpr std::int32_t kConversationVocab = 100'000;

// Conversations that begin one after the other, as affinity_simulation.h describes them.
class Conversations {
 public:
  static constexpr double kMeanTurns = 5;

  Conversations(double turns_per_s, std::uint32_t seed);

  // Seconds until the next one begins.
  double DrawGap();
  Conversation Draw();

 private:
  std::int32_t Between(std::int32_t low, std::int32_t high);
  Conversation::Turn DrawTurn(bool first);

  std::mt19937 random_;
  std::exponential_distribution<double> gap_;
  std::vector<std::int32_t> system_tokens_;  // by application
  std::uint64_t last_name_ = 0;
};

}  // namespace thinkwire::bench

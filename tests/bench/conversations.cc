#include "tests/bench/conversations.h"

#include <algorithm>
#include <utility>

namespace thinkwire::bench {
namespace {

constexpr std::size_t kApps = 8;
constexpr double kMeanPauseSeconds = 20;
constexpr int kMostTurns = 30;                     // so that no context is too short
constexpr std::uint64_t kMessagesOfOne = 1 << 10;  // names of messages do not meet below it

// Splitmix64 (Steele, Lea, Flood, OOPSLA 2014): a number that looks drawn, the same on each
// machine.
std::uint64_t Mix(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

}  // namespace

Conversation::Conversation(std::size_t app, std::int32_t system_tokens, std::uint64_t name,
                           std::vector<Turn> turns)
    : app_(app), name_(name), turns_(std::move(turns)) {
  Add(app, system_tokens);
}

bool Conversation::Ask() {
  const std::uint64_t message = kMessagesOfOne * name_ + 2 * asked_;
  if (asked_ == turns_.size()) return false;
  before_ = asked_ == 0 ? 0 : static_cast<std::int32_t>(ids_.size());
  if (asked_ > 0) Add(message, turn().answer);
  Add(message + 1, turns_[asked_].question);
  ++asked_;
  return true;
}

void Conversation::Add(std::uint64_t message, std::int32_t tokens) {
  for (std::int32_t i = 0; i < tokens; ++i) {
    const std::uint64_t drawn = Mix(Mix(message) + static_cast<std::uint64_t>(i));
    ids_.push_back(static_cast<std::int32_t>(drawn % kConversationVocab));
  }
  const std::uint64_t before = ends_.empty() ? 0 : ends_.back().hash;
  ends_.push_back({.hash = Mix(before ^ Mix(message)), .bytes = kBytesOfToken * ids_.size()});
}

router::decision::PromptMarks Conversation::Marks() const {
  router::decision::PromptMarks marks{.peer = peer(), .bytes = ends_.back().bytes};
  for (std::size_t place = 1; place <= ends_.size(); ++place) {
    if (place == 1 || router::decision::KeepsMark(place, ends_.size())) {
      marks.list.push_back(ends_[place - 1]);
    }
  }
  return marks;
}

Conversations::Conversations(double turns_per_s, std::uint32_t seed)
    : random_(seed), gap_(turns_per_s / kMeanTurns) {
  for (std::size_t app = 0; app < kApps; ++app) system_tokens_.push_back(Between(200, 2'000));
}

double Conversations::DrawGap() { return gap_(random_); }

Conversation Conversations::Draw() {
  std::discrete_distribution<std::size_t> apps{8, 4, 3, 2, 2, 2, 2, 1};
  std::geometric_distribution<int> more(1 / kMeanTurns);
  std::vector<Conversation::Turn> turns = {DrawTurn(true)};
  for (int left = std::min(more(random_), kMostTurns - 1); left > 0; --left) {
    turns.push_back(DrawTurn(false));
  }
  const std::size_t app = apps(random_);
  return Conversation(app, system_tokens_[app], ++last_name_, std::move(turns));
}

std::int32_t Conversations::Between(std::int32_t low, std::int32_t high) {
  return std::uniform_int_distribution<std::int32_t>(low, high)(random_);
}

Conversation::Turn Conversations::DrawTurn(bool first) {
  std::exponential_distribution<double> pause(1 / kMeanPauseSeconds);
  Conversation::Turn turn{.question = Between(20, 200),
                          .reasoning = Between(100, 800),
                          .answer = Between(100, 400),
                          .pause_s = pause(random_)};
  if (first && Between(1, 10) == 1) turn.question += Between(1'000, 6'000);
  return turn;
}

}  // namespace thinkwire::bench

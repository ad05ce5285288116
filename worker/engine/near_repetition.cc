#include "worker/engine/near_repetition.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/steering_limits.h"

namespace thinkwire::worker::engine {
namespace {

// Odd, so that no id loses its part in the hash; the golden ratio of 2^64.
constexpr std::uint64_t kBase = 0x9E3779B97F4A7C15;

constexpr std::uint64_t Power(std::uint64_t base, std::size_t exponent) {
  std::uint64_t power = 1;
  for (std::size_t i = 0; i < exponent; ++i) power *= base;
  return power;
}

// Spreads what a polynomial leaves in the upper bits over all of them (MurmurHash3's finaliser).
std::uint64_t Mix(std::uint64_t hash) {
  hash = (hash ^ (hash >> 33)) * 0xFF51AFD7ED558CCD;
  hash = (hash ^ (hash >> 33)) * 0xC4CEB9FE1A85EC53;
  return hash ^ (hash >> 33);
}

}  // namespace

NearRepetition::NearRepetition(float share)
    : needed_(std::max<std::size_t>(
          1, static_cast<std::size_t>(std::ceil(share * static_cast<float>(kPassages))))),
      table_(kNearRepetitionWords),
      seen_(kPassages) {}

void NearRepetition::Restart() {
  std::ranges::fill(table_, 0U);
  std::fill(seen_.begin(), seen_.end(), false);
  last_ = {};
  hash_ = 0;
  count_ = 0;
  num_seen_ = 0;
}

bool NearRepetition::Add(std::int32_t id) {
  const std::uint64_t hash = HashWith(id);
  const std::size_t passage = count_ % kPassages;
  const bool seen = ++count_ >= kLength && WasSeen(hash);
  if (seen_[passage]) --num_seen_;
  if (seen) ++num_seen_;
  seen_[passage] = seen;
  return num_seen_ >= needed_;
}

std::uint64_t NearRepetition::HashWith(std::int32_t id) {
  constexpr std::uint64_t kOldest = Power(kBase, kLength);
  const std::uint64_t value = static_cast<std::uint64_t>(id) + 1;
  const std::uint64_t oldest = std::exchange(last_[count_ % kLength], value);
  hash_ = hash_ * kBase + value - oldest * kOldest;
  return Mix(hash_);
}

bool NearRepetition::WasSeen(std::uint64_t hash) {
  const auto tag = static_cast<std::uint32_t>(hash >> 32) | 1U;
  return std::exchange(table_[hash % kNearRepetitionWords], tag) == tag;
}

}  // namespace thinkwire::worker::engine

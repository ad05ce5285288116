#pragma once

#include <cstddef>
#include <cstdint>

namespace thinkwire::worker::step {

// A sequence reasons first and then answers; it never goes back. The think-end token itself
// belongs to kReasoning, the end-of-sequence token to the phase that it ends.
enum class Phase : std::uint8_t { kReasoning = 0, kAnswer = 1 };
inline constexpr int kNumPhases = 2;
inline constexpr Phase kPhases[kNumPhases] = {Phase::kReasoning, Phase::kAnswer};

// One value for each phase: an aggregate, and plain data where T is.
template <class T>
struct PerPhase {
  T values[kNumPhases];  // kReasoning's, kAnswer's

  constexpr T& operator[](Phase phase) { return values[static_cast<std::size_t>(phase)]; }
  constexpr const T& operator[](Phase phase) const {
    return values[static_cast<std::size_t>(phase)];
  }
  constexpr T* begin() { return values; }
  constexpr T* end() { return values + kNumPhases; }
  constexpr const T* begin() const { return values; }
  constexpr const T* end() const { return values + kNumPhases; }
};

}  // namespace thinkwire::worker::step

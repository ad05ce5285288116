#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "worker/step/runner.h"

// What the control connections of a group carry beside plans, as bytes: numbers are little-endian.
namespace thinkwire::worker::model {

std::string EncodeNumber(std::uint64_t number);
std::optional<std::uint64_t> DecodeNumber(std::string_view bytes);

// Of each rank of a process, in rank order: its step (u64) and layer (u64).
std::string EncodeBeats(const std::vector<step::RankBeat>& beats);
// None where the bytes are not the beats of so many ranks.
std::optional<std::vector<step::RankBeat>> DecodeBeats(std::string_view bytes, std::size_t ranks);

}  // namespace thinkwire::worker::model

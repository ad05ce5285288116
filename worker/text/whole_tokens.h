#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "worker/text/byte_pair_encoder.h"

namespace thinkwire::worker::text {

// `left` and `right` become `merged`, before any merge of a higher rank.
struct TokenMerge {
  std::int32_t left;
  std::int32_t right;
  std::int32_t rank;
  std::int32_t merged;
};

// By id, whether the encoder gives for a token's own bytes that token alone, which is what encoding
// each of them tells too, in several times the time.
//
// A token that one merge alone can give is whole if both of its parts are, and if nothing merges
// over the border between them before they are made. As every merge has a higher rank than those
// that make its parts, the ranks are an order of time: the border is followed back to the bytes,
// the part that was made last undone first, and each pair that has stood there must have merged
// later than one of the two became another token. Of equal ranks the leftmost merges first, so
// that the border's pair merges before a part right of it is made of an equal pair, and after one
// left of it.
//
// REQUIRES: the encoder is finished and has these merges, by ascending rank; ids below `num_ids`.
// nullopt where the merges are not so: one token of two merges, a pair that is there twice, a part
// that a later merge makes.
std::optional<std::vector<bool>> FindWholeTokens(const BytePairEncoder& encoder,
                                                 std::span<const TokenMerge> merges,
                                                 std::size_t num_ids);

}  // namespace thinkwire::worker::text

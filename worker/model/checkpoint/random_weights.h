#pragma once

#include "worker/model/checkpoint/weight_source.h"

namespace thinkwire::worker::model {

// Seeded noise in a config's shapes: each element depends on seed, tensor name and its place in
// the whole tensor alone, so that every split of the model sees the same weights. Matrices keep
// the variance of their input, norms are near 1. Matrices of the encodings of
// random_blocks.h are drawn so; all else is bf16.
class RandomWeights final : public WeightSource {
 public:
  explicit RandomWeights(std::uint64_t seed) : seed_(seed) {}

  HostSlice Slice(const TensorSpec& spec, const Region& region) const override;
  std::uint64_t identity() const override;
  std::string stored_as() const override { return "random"; }

 private:
  const std::uint64_t seed_;
};

}  // namespace thinkwire::worker::model

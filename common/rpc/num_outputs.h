#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::rpc {

// How many outputs the request asks for, those that vote included.
inline std::size_t NumOutputs(const v1::GenerateRequest& request) {
  const std::int32_t outputs =
      request.has_consensus() ? request.consensus().max_samples() : request.n();
  return static_cast<std::size_t>(std::max(1, outputs));
}

}  // namespace thinkwire::rpc

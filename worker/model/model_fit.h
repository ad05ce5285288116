#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "absl/status/statusor.h"
#include "worker/kernels/device.h"

namespace thinkwire::worker::model {

// Memory that models may be served from: one or more devices of a kind, or the host's.
struct MemoryPlace {
  kernels::Capabilities device{};
  std::int64_t free_bytes = 0;  // of each device
  std::int32_t devices = 1;
  std::int64_t host_bytes = 0;  // beside devices, for what they read from there
};

// What a model takes in a place, and what it can serve there.
struct ModelFit {
  std::int32_t ranks = 1;               // the fewest devices that have room for it
  std::int64_t weight_bytes = 0;        // on the devices of all ranks
  bool host_embedding = false;          // the embedding is not among them
  std::int64_t kv_bytes_per_token = 0;  // over all ranks
  std::int32_t context = 0;             // tokens that a sequence may have; 0: there is no room
  std::int32_t longest = 0;             // tokens of a sequence, by the model
};

// By the rules that a worker loads by, with this of its options (ModelOptions) and else the
// defaults, and from config.json alone: no weight is read.
// Fails: as ModelFiles::Config, QuantizationConfig::SchemeOf and KeepsFp8; INVALID_ARGUMENT the
// device has no kernels for the model's heads.
absl::StatusOr<ModelFit> FitOf(const std::filesystem::path& model, const MemoryPlace& place,
                               const std::string& kv_cache_dtype = "auto");

// "weights 15.2 GB, KV 57.3 MB a thousand tokens: 131072 tokens of context on 2 devices"
std::string FitText(const ModelFit& fit);

}  // namespace thinkwire::worker::model

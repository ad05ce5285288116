#pragma once

#include <cstdint>
#include <filesystem>

#include "absl/status/statusor.h"

namespace thinkwire::worker::model {

// What a checkpoint can be rewritten as; grouped_tensor.h has the tensors of each.
enum class RequantizedAs : std::uint8_t {
  kAwqGemm,   // four bits; scales and zero points of 128, 64 or 32 columns
  kFp8Block,  // e4m3, a scale for each block of 128 x 128
};

struct RequantizedLoss {
  std::int64_t matrices = 0;
  double mean_relative_error = 0;  // sum of |weight - what it became| over sum of |weight|
};

// As Hugging Face's libraries cut checkpoints.
inline constexpr std::int64_t kMostFileBytes = 5'000'000'000;

// Writes the safetensors checkpoint of folder `from` anew to folder `to`, the layers' matrices
// rounded to the nearest (round_to_nearest.h), without calibration. Embedding, head, norms and
// biases stay as they are; tokenizer and configuration are copied. Weights are in one file, or,
// where they take more than `max_file_bytes`, in several of at most that (one tensor's, if it takes
// more) with their index. One tensor is in memory at a time. `to` appears when it is whole
// (WriteWhole). `group` is of columns, for kAwqGemm: 128, 64 or 32; 0: the first of these that all
// widths allow. Fails: INVALID_ARGUMENT, NOT_FOUND as CheckpointWeights; INVALID_ARGUMENT for what
// is quantised already or too narrow, and for a `from` of another kind; ALREADY_EXISTS where `to`
// or its `.partial` is there; UNAVAILABLE where it cannot be written. What was begun is removed.
absl::StatusOr<RequantizedLoss> Requantize(const std::filesystem::path& from,
                                           const std::filesystem::path& to, RequantizedAs format,
                                           std::int64_t max_file_bytes = kMostFileBytes,
                                           std::int64_t group = 0);

// Fails: INVALID_ARGUMENT where the weights of folder `from` are quantised; NOT_FOUND without its
// config.json.
absl::Status RefuseRounded(const std::filesystem::path& from);

}  // namespace thinkwire::worker::model

#pragma once

#include <cstdint>
#include <filesystem>

#include "absl/status/statusor.h"
#include "common/gguf_header.h"
#include "worker/model/checkpoint/requantize.h"

namespace thinkwire::worker::model {

// Which GGUF file is written. Vectors are F32 in both. Matrices of which the rows are no whole
// blocks become Q8_0, and BF16 where they are no whole blocks of that either.
enum class GgufFileType : std::uint8_t {
  kQ8_0 = 7,     // every matrix; the numbers are llama.cpp's general.file_type
  kQ4_K_M = 15,  // Q4_K, with Q6_K where llama.cpp has it: the head, some values and down
                 // projections, and the embedding where it is the head
};

// Writes the safetensors checkpoint of folder `from` as the GGUF file `to`, rounded as
// round_to_blocks.h says, without calibration: a qwen2 or a llama with llama.cpp's names and order
// of rows. `header` has the tokenizer's values; the model's are added. One tensor is in memory at a
// time, on as many threads as there are cores, and the file is the same for any number. It appears
// when it is whole (WriteWhole).
// Fails: as Requantize; INVALID_ARGUMENT for what a GGUF file cannot say.
absl::StatusOr<RequantizedLoss> RequantizeToGguf(const std::filesystem::path& from,
                                                 const std::filesystem::path& to, GgufFileType type,
                                                 GgufHeader header);

}  // namespace thinkwire::worker::model

#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

namespace thinkwire::worker::model {

// How a folder's matrices are written: "awq", "gptq" or "compressed-tensors" (pack-quantized),
// "int-quantized" and "float-quantized" (compressed-tensors too, by channel), "fp8" (in blocks),
// "nf4" (bitsandbytes, blocks of 64).
struct QuantizedForm {
  std::string method = "awq";
  int bits = 4;
  std::int64_t group = 128;
  bool reordered = false;  // GPTQ: a group's columns lie apart
  bool head = false;       // GPTQ: lm_head too
};

// Quantises the layers' matrices of the dense folder `from`, each group to the nearest steps
// between its least and its greatest weight, and writes them to the folder `packed`; to the folder
// `dense` in BF16 what they stand for. Modules with `kept` in their name stay as they are, and the
// configuration says so. Biases are F16, all else is BF16. Both get the other files of `from`.
void WriteQuantized(const std::filesystem::path& from, const QuantizedForm& form,
                    const std::filesystem::path& packed, const std::filesystem::path& dense,
                    const std::string& kept = "nothing");

}  // namespace thinkwire::worker::model

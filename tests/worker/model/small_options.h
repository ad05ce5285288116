#pragma once

#include <cstdint>
#include <filesystem>

#include "worker/model/load_model.h"

namespace thinkwire::worker::model {

// A small model of that folder or file on the CPU, two threads over all ranks.
inline ModelOptions OptionsFor(const std::filesystem::path& model, std::int32_t ranks = 1) {
  ModelOptions options;
  options.model_dir = model;
  options.device = "cpu";
  options.cpu_threads = 2;
  options.max_model_len = 128;
  options.max_num_seqs = 4;
  options.max_num_batched_tokens = 128;
  options.tensor_parallel_size = ranks;
  return options;
}

}  // namespace thinkwire::worker::model

#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/model/checkpoint/mapped_file.h"
#include "worker/model/checkpoint/safetensors.h"

namespace thinkwire::worker::model {

// A tensor of a checkpoint and the file that holds it.
struct CheckpointTensor {
  StoredTensor stored;
  std::string file;  // for messages
};

// The safetensors files of one model directory: those that model.safetensors.index.json names,
// else model.safetensors. Checkpoints are hostile input: sizes, offsets and names are all checked
// before a byte of a tensor is read.
// Owns: the mappings. Threads: immutable once open.
class Checkpoint {
 public:
  // Fails: NOT_FOUND or INVALID_ARGUMENT, naming file and tensor.
  static absl::StatusOr<Checkpoint> Open(const std::filesystem::path& dir);

  // Null if there is none.
  const CheckpointTensor* Find(absl::string_view name) const;

  // By ascending name.
  const std::map<std::string, CheckpointTensor, std::less<>>& tensors() const { return tensors_; }

 private:
  // Maps `file` and takes in its tensors.
  absl::Status Add(const std::filesystem::path& file);

  std::vector<MappedFile> files_;
  std::map<std::string, CheckpointTensor, std::less<>> tensors_;
};

}  // namespace thinkwire::worker::model

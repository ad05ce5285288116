#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/mapped_file.h"
#include "worker/model/checkpoint/safetensors.h"

namespace thinkwire::worker::model {

// A tensor of a checkpoint and the file that holds it.
struct CheckpointTensor {
  StoredTensor stored;
  std::string file;  // for messages
};

// "file: tensor "name" problem"
absl::Status TensorError(const CheckpointTensor& tensor, absl::string_view problem);

// "[3, 5]"
std::string ShapeText(std::span<const std::int64_t> shape);

// The safetensors files of one model directory: model.safetensors if it is there, else those that
// model.safetensors.index.json names, in transformers' order. The shards are believed about what
// they hold, the index only about which they are. Checkpoints are hostile input: sizes, offsets and
// names are all checked before a byte of a tensor is read.
// Owns: the mappings. Threads: immutable once open.
class Checkpoint {
 public:
  // Fails: NOT_FOUND or INVALID_ARGUMENT, naming file and tensor; of a folder that keeps its
  // weights otherwise (pytorch_model.bin, an adapter, GGUF) it says so.
  static absl::StatusOr<Checkpoint> Open(const std::filesystem::path& dir);

  // Null if there is none.
  const CheckpointTensor* Find(absl::string_view name) const;

  // By ascending name.
  const std::map<std::string, CheckpointTensor, std::less<>>& tensors() const { return tensors_; }

  // A sentence each: where index and files contradict each other.
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  absl::Status AddShards(const std::filesystem::path& dir);
  void WarnOfUnreadIndex(const std::filesystem::path& dir);

  // Maps `file` and takes in its tensors.
  absl::Status Add(const std::filesystem::path& file);

  std::vector<MappedFile> files_;
  std::vector<std::string> warnings_;
  std::map<std::string, CheckpointTensor, std::less<>> tensors_;
};

}  // namespace thinkwire::worker::model

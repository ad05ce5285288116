#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/gguf_file.h"

namespace thinkwire::worker::model {

// A tensor and the file that holds it. Both belong to the shards.
struct GgufShardTensor {
  const GgufTensor* tensor = nullptr;
  const std::string* file = nullptr;  // for messages
};

// A model's GGUF file, or all that it was split into (`x-00001-of-00003.gguf` and its siblings in
// the same folder, as `split.no` and `split.count` in each say too). The first one's values are the
// model's.
// Owns: the mappings. Threads: immutable once open.
class GgufShards {
 public:
  // `first` is the only file or the first of several.
  // Fails: NOT_FOUND or INVALID_ARGUMENT, naming the file, and the key or tensor.
  static absl::StatusOr<GgufShards> Open(const std::filesystem::path& first);

  const GgufContent& values() const { return files_.front().content(); }
  const std::string& path() const { return files_.front().path(); }

  // By ascending name.
  const std::map<absl::string_view, GgufShardTensor>& tensors() const { return tensors_; }
  // A null tensor if there is none.
  GgufShardTensor Find(absl::string_view name) const;

 private:
  explicit GgufShards(std::vector<GgufFile> files) : files_(std::move(files)) {}

  absl::Status TakeTensors();

  std::vector<GgufFile> files_;
  std::map<absl::string_view, GgufShardTensor> tensors_;  // points into the files
};

}  // namespace thinkwire::worker::model

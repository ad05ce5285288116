#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "common/gguf.h"
#include "common/mapped_file.h"

namespace thinkwire {

// Whether `path` is meant as a GGUF file: it is a file and no folder, or is called `.gguf`.
bool IsGgufPath(const std::filesystem::path& path);

// One of the files that a model was split into, as its name says: "x-00002-of-00003.gguf".
struct GgufPart {
  std::string stem;  // "x"
  int number = 0;    // 2
  int count = 0;     // 3
};

// Nothing for a name without a part's ending.
std::optional<GgufPart> PartOfName(const std::filesystem::path& path);

// The name of part `number`, from 1.
std::string NameOfPart(const GgufPart& part, int number);

// "x" of "x.gguf" and of "x-00001-of-00003.gguf".
std::string GgufStem(const std::filesystem::path& path);

// A GGUF file, mapped, with what it holds. Threads: immutable.
class GgufFile {
 public:
  // Fails: NOT_FOUND or INVALID_ARGUMENT, naming the path and what is wrong.
  static absl::StatusOr<GgufFile> Open(const std::filesystem::path& path);

  const GgufContent& content() const { return content_; }
  const std::string& path() const { return mapping_.path(); }

 private:
  GgufFile(MappedFile mapping, GgufContent content)
      : mapping_(std::move(mapping)), content_(std::move(content)) {}

  MappedFile mapping_;
  GgufContent content_;  // points into the mapping, which moves without its bytes' moving
};

}  // namespace thinkwire

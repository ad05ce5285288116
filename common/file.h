#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace thinkwire {

// A regular file, open to be read. Whatever else a path may lead to (a folder, a pipe, a device
// without an end) is refused, and never waited for.
class RegularFile {
 public:
  // Fails: NOT_FOUND there is none; else INVALID_ARGUMENT. The message opens with the path.
  static absl::StatusOr<RegularFile> Open(const std::filesystem::path& path);

  RegularFile(RegularFile&& other) noexcept;
  RegularFile& operator=(RegularFile&&) = delete;
  ~RegularFile();

  int descriptor() const { return descriptor_; }
  std::size_t size() const { return size_; }  // bytes, when it was opened

 private:
  RegularFile(int descriptor, std::size_t size) : descriptor_(descriptor), size_(size) {}

  int descriptor_;
  std::size_t size_;
};

// All bytes of a regular file. One that is longer than `max_bytes` is not read.
// Fails: as RegularFile::Open; INVALID_ARGUMENT, with both numbers, for one that is too long.
absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path, std::size_t max_bytes);

// Whether a file that begins with `bytes` is what Git LFS leaves in place of one that was not
// downloaded, and what to say of it.
bool IsLfsPointer(std::string_view bytes);
inline constexpr char kLfsPointerProblem[] =
    "a Git LFS pointer, not the file itself, which git lfs pull downloads";

}  // namespace thinkwire

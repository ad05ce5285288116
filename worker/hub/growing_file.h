#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace thinkwire::worker::hub {

// A file that is written at its end alone, so that what is in it is always a beginning of the
// whole, whenever the process is killed. Owns: the descriptor. Threads: one, but for Read. Fails:
// what the system says, with the path; RESOURCE_EXHAUSTED where the disk, or the user's share of
// it, is full.
class GrowingFile {
 public:
  // Opens what is there, or makes an empty one, readable as the umask has it.
  static absl::StatusOr<GrowingFile> Open(const std::filesystem::path& path);

  GrowingFile(GrowingFile&& other) noexcept;
  GrowingFile& operator=(GrowingFile&&) = delete;
  ~GrowingFile();

  std::int64_t size() const { return size_; }

  absl::Status Append(std::string_view bytes);
  // Fills `out` from `offset` on, which must be there.
  absl::Status Read(std::int64_t offset, std::span<char> out) const;
  absl::Status Truncate(std::int64_t size);
  // Returns once the bytes are on the disk.
  absl::Status Sync();

 private:
  GrowingFile(std::filesystem::path path, int descriptor)
      : path_(std::move(path)), descriptor_(descriptor) {}

  absl::Status Failure(const char* what) const;

  const std::filesystem::path path_;
  int descriptor_;
  std::int64_t size_ = 0;
};

// Whether every byte of a file has been written, as far as its system knows: one that others have
// written in no order has holes.
bool IsWithoutHoles(const std::filesystem::path& path);

}  // namespace thinkwire::worker::hub

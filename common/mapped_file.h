#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"

namespace thinkwire {

// A file mapped read-only. The file must not shrink while it is mapped: reading a page that went
// away kills the process, as it would any user of mmap.
class MappedFile {
 public:
  // Fails: NOT_FOUND or INVALID_ARGUMENT, naming the path. An empty file is mapped as no bytes.
  static absl::StatusOr<MappedFile> Open(const std::filesystem::path& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  const std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  const std::string& path() const { return path_; }

 private:
  MappedFile(const std::byte* data, std::size_t size, std::string path);

  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::string path_;
};

// Takes the pages with `bytes` out of this process's memory, the first and the last one whole; the
// system's page cache may keep them. Whoever reads there afterwards or meanwhile gets the same
// bytes. REQUIRES: `bytes` lie in a MappedFile: elsewhere they would be lost. Threads: any.
void DropPages(std::span<const std::byte> bytes);

// Bytes of a MappedFile while somebody reads them, whose pages are dropped at the end.
// The mapping must outlive it.
class MappedRead {
 public:
  MappedRead() = default;  // of nothing
  explicit MappedRead(std::span<const std::byte> bytes) : bytes_(bytes) {}
  MappedRead(MappedRead&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  MappedRead& operator=(MappedRead&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MappedRead() { DropPages(bytes_); }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace thinkwire

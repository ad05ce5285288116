#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

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

}  // namespace thinkwire

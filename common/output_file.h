#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace thinkwire {

// A new file that is written from its beginning to its end, and is on the disk once it is finished.
// Fails everywhere: UNAVAILABLE "path: cannot be written: why".
class OutputFile {
 public:
  // The file must not be there.
  static absl::StatusOr<OutputFile> Create(const std::filesystem::path& path);

  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();  // leaves what was written

  absl::Status Write(std::span<const std::byte> bytes);
  absl::Status Write(std::string_view text);
  // So many zeros.
  absl::Status Pad(std::size_t bytes);
  // Waits until the disk has all of it. Nothing may be written any more.
  absl::Status Finish();

 private:
  OutputFile(int descriptor, std::filesystem::path path)
      : descriptor_(descriptor), path_(std::move(path)) {}

  int descriptor_;
  std::filesystem::path path_;
};

// Lets `write` make a file or a folder, of files that are finished, at the path that it is given,
// and gives it the name `whole` when that is done: whoever looks sees all of it or nothing, after a
// loss of power too. What was begun is removed where `write` fails; where this process ends within,
// it is left at `whole`.partial.
// Fails: ALREADY_EXISTS where `whole` or its `.partial` is there; UNAVAILABLE; as `write`.
absl::Status WriteWhole(const std::filesystem::path& whole,
                        const std::function<absl::Status(const std::filesystem::path&)>& write);

}  // namespace thinkwire

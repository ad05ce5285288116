#include "common/output_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/shown_text.h"
#include "common/status.h"

namespace thinkwire {
namespace {

namespace fs = std::filesystem;

absl::Status CannotWrite(const fs::path& path, const char* why) {
  return absl::UnavailableError(
      absl::StrCat(ShownText(path.string()), ": cannot be written: ", why));
}

// By errno.
absl::Status CannotWrite(const fs::path& path) { return CannotWrite(path, std::strerror(errno)); }

// Waits until the disk has what a folder holds by which name.
absl::Status SyncFolder(const fs::path& folder) {
  const fs::path path = folder.empty() ? fs::path(".") : folder;
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return CannotWrite(path);
  const bool synced = ::fsync(descriptor) == 0;
  const absl::Status status = synced ? absl::OkStatus() : CannotWrite(path);
  ::close(descriptor);
  return status;
}

absl::Status CheckFree(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(path, error))) return absl::OkStatus();
  return absl::AlreadyExistsError(
      absl::StrCat(ShownText(path.string()), ": is there already, and nothing is written over"));
}

absl::Status GiveName(const fs::path& partial, const fs::path& whole) {
  std::error_code error;
  if (fs::is_directory(partial, error)) RETURN_IF_ERROR(SyncFolder(partial));
  fs::rename(partial, whole, error);
  if (error) return CannotWrite(whole, error.message().c_str());
  return SyncFolder(whole.parent_path());
}

}  // namespace

absl::StatusOr<OutputFile> OutputFile::Create(const fs::path& path) {
  constexpr mode_t kMode = 0666;  // what the process's mask leaves of it
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kMode);
  if (descriptor < 0) return CannotWrite(path);
  return OutputFile(descriptor, path);
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), path_(std::move(other.path_)) {}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

absl::Status OutputFile::Write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(descriptor_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return CannotWrite(path_);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return absl::OkStatus();
}

absl::Status OutputFile::Write(std::string_view text) {
  return Write(std::as_bytes(std::span(text.data(), text.size())));
}

absl::Status OutputFile::Pad(std::size_t bytes) {
  constexpr std::array<std::byte, 64> kZeros = {};
  while (bytes > 0) {
    const std::size_t now = std::min(bytes, kZeros.size());
    RETURN_IF_ERROR(Write(std::span(kZeros).first(now)));
    bytes -= now;
  }
  return absl::OkStatus();
}

absl::Status OutputFile::Finish() {
  const bool synced = ::fsync(descriptor_) == 0;
  absl::Status status = synced ? absl::OkStatus() : CannotWrite(path_);
  if (::close(std::exchange(descriptor_, -1)) != 0 && status.ok()) status = CannotWrite(path_);
  return status;
}

absl::Status WriteWhole(const fs::path& whole,
                        const std::function<absl::Status(const fs::path&)>& write) {
  const fs::path name = whole.has_filename() ? whole : whole.parent_path();
  fs::path partial = name;
  partial += ".partial";
  RETURN_IF_ERROR(CheckFree(name));
  RETURN_IF_ERROR(CheckFree(partial));
  absl::Status status = write(partial);
  if (status.ok()) status = GiveName(partial, name);
  std::error_code error;
  if (!status.ok()) fs::remove_all(partial, error);
  return status;
}

}  // namespace thinkwire

#include "worker/hub/growing_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace thinkwire::worker::hub {
namespace {

constexpr mode_t kMode = 0666;

// By errno.
absl::Status SystemError(const std::filesystem::path& path, const char* what) {
  const std::string message = absl::StrCat(path.string(), ": ", what, ": ", std::strerror(errno));
  const bool full = errno == ENOSPC || errno == EDQUOT;
  return full ? absl::ResourceExhaustedError(message) : absl::FailedPreconditionError(message);
}

}  // namespace

absl::StatusOr<GrowingFile> GrowingFile::Open(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kMode);
  if (descriptor < 0) return SystemError(path, "cannot be opened");
  GrowingFile file(path, descriptor);
  struct stat info {};
  if (::fstat(descriptor, &info) != 0) return file.Failure("cannot be opened");
  if (!S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(path.string(), ": not a regular file"));
  }
  file.size_ = info.st_size;
  return file;
}

GrowingFile::GrowingFile(GrowingFile&& other) noexcept
    : path_(other.path_), descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}

GrowingFile::~GrowingFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

absl::Status GrowingFile::Failure(const char* what) const { return SystemError(path_, what); }

absl::Status GrowingFile::Append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(descriptor_, bytes.data(), bytes.size(), size_);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failure("cannot be written");
    bytes.remove_prefix(static_cast<std::size_t>(n));
    size_ += n;
  }
  return absl::OkStatus();
}

absl::Status GrowingFile::Read(std::int64_t offset, std::span<char> out) const {
  while (!out.empty()) {
    const ssize_t n = ::pread(descriptor_, out.data(), out.size(), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failure("cannot be read");
    if (n == 0) {
      return absl::FailedPreconditionError(absl::StrCat(path_.string(), ": has become shorter"));
    }
    out = out.subspan(static_cast<std::size_t>(n));
    offset += n;
  }
  return absl::OkStatus();
}

absl::Status GrowingFile::Truncate(std::int64_t size) {
  if (::ftruncate(descriptor_, size) != 0) return Failure("cannot be cut");
  size_ = size;
  return absl::OkStatus();
}

absl::Status GrowingFile::Sync() {
  return ::fdatasync(descriptor_) == 0 ? absl::OkStatus() : Failure("cannot be written");
}

bool IsWithoutHoles(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (descriptor < 0) return false;
  const off_t hole = ::lseek(descriptor, 0, SEEK_HOLE);
  const off_t end = ::lseek(descriptor, 0, SEEK_END);
  ::close(descriptor);
  return end > 0 && hole == end;
}

}  // namespace thinkwire::worker::hub

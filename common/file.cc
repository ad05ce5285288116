#include "common/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/strings.h"

namespace thinkwire {
namespace {

absl::Status Refused(const std::filesystem::path& path, std::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(path.string(), ": ", View(why)));
}

// By errno.
absl::Status CannotBeRead(const std::filesystem::path& path) {
  if (errno == ENOENT || errno == ENOTDIR) {
    return absl::NotFoundError(absl::StrCat(path.string(), ": no such file"));
  }
  return Refused(path, std::string("cannot be read: ") + std::strerror(errno));
}

}  // namespace

absl::StatusOr<RegularFile> RegularFile::Open(const std::filesystem::path& path) {
  // Non-blocking, so that a named pipe is refused below instead of waited for.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0) return CannotBeRead(path);
  RegularFile file(descriptor, 0);
  struct stat info {};
  if (::fstat(descriptor, &info) != 0) return CannotBeRead(path);
  if (!S_ISREG(info.st_mode)) return Refused(path, "not a regular file");
  file.size_ = static_cast<std::size_t>(info.st_size);
  return file;
}

RegularFile::RegularFile(RegularFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}

RegularFile::~RegularFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path, std::size_t max_bytes) {
  ASSIGN_OR_RETURN(const RegularFile file, RegularFile::Open(path));
  if (file.size() > max_bytes) {
    return Refused(path, absl::StrCat(file.size(), " bytes; at most ", max_bytes, " are read"));
  }
  std::string text(file.size(), '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t n = ::read(file.descriptor(), text.data() + size, text.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return CannotBeRead(path);
    if (n == 0) break;  // it has become shorter
    size += static_cast<std::size_t>(n);
  }
  text.resize(size);
  return text;
}

// https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md: the first line.
bool IsLfsPointer(std::string_view bytes) {
  return bytes.starts_with("version https://git-lfs.github.com/spec/");
}

}  // namespace thinkwire

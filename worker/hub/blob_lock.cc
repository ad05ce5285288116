#include "worker/hub/blob_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>
#include <thread>

#include "absl/strings/str_cat.h"

namespace thinkwire::worker::hub {
namespace {

constexpr mode_t kMode = 0664;
constexpr std::chrono::milliseconds kLook{100};  // flock has no time limit of its own

absl::Status Failure(const std::filesystem::path& path) {
  return absl::FailedPreconditionError(
      absl::StrCat(path.string(), ": cannot be locked: ", std::strerror(errno)));
}

// Whether the path still leads to the file that is open: some versions of filelock remove it.
bool IsThere(const std::filesystem::path& path, int descriptor) {
  struct stat of_path {};
  struct stat of_file {};
  return ::stat(path.c_str(), &of_path) == 0 && ::fstat(descriptor, &of_file) == 0 &&
         of_path.st_dev == of_file.st_dev && of_path.st_ino == of_file.st_ino;
}

}  // namespace

absl::StatusOr<BlobLock> BlobLock::Take(const std::filesystem::path& path,
                                        const std::atomic<bool>* stop,
                                        const std::function<void()>& on_wait) {
  std::error_code failed;
  std::filesystem::create_directories(path.parent_path(), failed);
  for (bool waits = false;;) {
    BlobLock lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kMode));
    if (lock.descriptor_ < 0) return Failure(path);
    if (::flock(lock.descriptor_, LOCK_EX | LOCK_NB) == 0) {
      if (IsThere(path, lock.descriptor_)) return lock;
      continue;
    }
    if (errno != EWOULDBLOCK && errno != EINTR) return Failure(path);
    if (!waits) on_wait();
    waits = true;
    if (stop != nullptr && stop->load()) return absl::CancelledError("stopped");
    std::this_thread::sleep_for(kLook);
  }
}

BlobLock::~BlobLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace thinkwire::worker::hub

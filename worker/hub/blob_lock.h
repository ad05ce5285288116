#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace thinkwire::worker::hub {

// The lock that huggingface_hub takes too for a blob (filelock's UnixFileLock): flock on a file
// that stays. It ends with the process, however that ends. Owns: the descriptor. Threads: one.
class BlobLock {
 public:
  // Waits for whoever has it; `on_wait` is called once before that. Makes the folders.
  // Fails: FAILED_PRECONDITION the file cannot be made or locked, with its path; CANCELLED `stop`
  // has become true (null: it never does).
  static absl::StatusOr<BlobLock> Take(const std::filesystem::path& path,
                                       const std::atomic<bool>* stop,
                                       const std::function<void()>& on_wait);

  BlobLock(BlobLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  BlobLock& operator=(BlobLock&&) = delete;
  ~BlobLock();

 private:
  explicit BlobLock(int descriptor) : descriptor_(descriptor) {}

  int descriptor_;
};

}  // namespace thinkwire::worker::hub

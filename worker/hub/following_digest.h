#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "worker/hub/digest.h"
#include "worker/hub/growing_file.h"

namespace thinkwire::worker::hub {

// The digest of a file that grows, summed up behind its writer's back, so that a connection waits
// for no arithmetic. What is added is handed over by a ring, and not read again; what was there
// before is read from the file, and so is what comes while that is being read. A writer whom the
// sum has followed until now waits where the ring is full: the sum is then what takes longest.
// Owns: a thread, the ring. Threads: one, the file's writer.
class FollowingDigest {
 public:
  static constexpr std::int64_t kRingBytes = 4 << 20;

  // Of the `file` of `bytes` in the end, with what is in it. It outlives this.
  FollowingDigest(const GrowingFile& file, const std::string& etag, std::int64_t bytes);
  ~FollowingDigest();
  FollowingDigest(const FollowingDigest&) = delete;
  FollowingDigest& operator=(const FollowingDigest&) = delete;

  // `bytes` have just come to the file's end. May wait for the sum.
  void Add(std::string_view bytes);

  // As Digest::Result, of all. Fails: as GrowingFile::Read. REQUIRES: nothing after it.
  absl::StatusOr<std::string> Finish();

 private:
  // What the thread sums up next: bytes [first, first + bytes), of the ring or of the file.
  struct Part {
    std::int64_t first = 0;
    std::int64_t bytes = 0;  // 0: there is no more
    bool in_ring = false;
  };

  void AddPart(std::string_view bytes);
  // Whether the ring takes so many bytes more; waits where they will have room soon.
  bool MakeRoom(std::int64_t bytes);
  // On the own thread.
  void Run();
  Part NextPart();
  absl::Status Sum(const Part& part, std::vector<char>& buffer);
  // Lets that thread sum up all, and ends it.
  void End();

  const GrowingFile& file_;  // its beginning, which changes no more
  // A byte of the file has its place by its offset. Those that are summed are the writer's, who
  // puts others in their place; the thread reads the others.
  std::vector<char> ring_;

  // Of the own thread, and of whoever has joined it.
  Digest digest_;
  absl::Status sum_status_{};

  Mutex mu_;
  CondVar changed_;
  std::int64_t added_ ABSL_GUARDED_BY(mu_);         // that are in the file
  std::int64_t in_ring_from_ ABSL_GUARDED_BY(mu_);  // those from here to added_ are in the ring too
  std::int64_t summed_ ABSL_GUARDED_BY(mu_) = 0;
  bool writer_waits_ ABSL_GUARDED_BY(mu_) = false;
  bool thread_waits_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;   // nothing more is added
  bool failed_ ABSL_GUARDED_BY(mu_) = false;  // nothing more is summed
  std::thread thread_;
};

}  // namespace thinkwire::worker::hub

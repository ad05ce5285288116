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

// A file that grows at its end, and the digest of all of it. A connection that brings bytes waits
// neither for the disk nor for arithmetic: it puts them into a ring, out of which one thread writes
// them and another sums them up, and waits where that is full. What was in the file before is read
// for the sum, and so is what comes meanwhile, for which nobody waits. A process that is killed
// loses what is in the ring alone.
// Owns: the file, the ring, both threads. Threads: one, whose bytes they are.
class SummedFile {
 public:
  static constexpr std::int64_t kRingBytes = 4 << 20;

  // Of `bytes` in the end, with what is in `file`.
  SummedFile(GrowingFile file, const std::string& etag, std::int64_t bytes);
  ~SummedFile();  // what was added is in the file, as far as that takes it
  SummedFile(const SummedFile&) = delete;
  SummedFile& operator=(const SummedFile&) = delete;

  // With all that was added.
  std::int64_t size() const { return size_; }

  // Fails: as GrowingFile::Append and Read, of any bytes before; none is taken any more.
  absl::Status Add(std::string_view bytes);
  // Returns once all is in the file. Fails: likewise.
  absl::Status Flush();

  // As Digest::Result, of all, which then is in the file. Fails: likewise. REQUIRES: nothing but
  // Sync after it.
  absl::StatusOr<std::string> Finish();
  absl::Status Sync() { return file_.Sync(); }

 private:
  // Bytes [first, first + bytes) of the file.
  struct Part {
    std::int64_t first = 0;
    std::int64_t bytes = 0;  // 0: there is no more
    bool in_ring = true;
  };

  absl::Status AddPart(std::string_view bytes);
  bool HasRoom(std::int64_t bytes) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::string_view InRing(const Part& part) const;
  // Has both threads do all that is left, and ends them.
  void End();

  // On the thread that writes.
  void Write();
  Part NextToWrite();
  // On the thread that sums up.
  void SumUp();
  Part NextToSum();
  absl::Status Sum(const Part& part, std::vector<char>& buffer);
  void Fail(const absl::Status& status);

  GrowingFile file_;          // only the thread that writes makes it longer
  Digest digest_;             // of the thread that sums up, and of whoever has joined it
  const std::int64_t begun_;  // bytes of the file that never were in the ring
  std::int64_t size_;

  // A byte of the file has its place by its offset. Those of [added_, claimed_) are the writer's;
  // the threads read those before.
  std::vector<char> ring_;

  Mutex mu_;
  CondVar room_;      // there is, or nothing is left to write
  CondVar to_write_;  // there is something
  CondVar to_sum_;
  std::int64_t added_ ABSL_GUARDED_BY(mu_);
  std::int64_t claimed_ ABSL_GUARDED_BY(mu_);  // what is being added comes until here
  std::int64_t written_ ABSL_GUARDED_BY(mu_);
  std::int64_t summed_ ABSL_GUARDED_BY(mu_) = 0;
  bool follows_ ABSL_GUARDED_BY(mu_);  // what is to be summed up is in the ring
  bool flushes_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;  // nothing more is added
  absl::Status error_ ABSL_GUARDED_BY(mu_);
  std::thread write_thread_;
  std::thread sum_thread_;
};

}  // namespace thinkwire::worker::hub

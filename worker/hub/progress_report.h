#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "common/mutex.h"
#include "worker/hub/progress.h"

namespace thinkwire::worker::hub {

// Tells people how far a download is: on a terminal by a bar in one line of stderr that is written
// over and over, elsewhere by a log record now and then.
// Owns: a thread, from the first to the last moment. Threads: one but for that.
class ProgressReport {
 public:
  static constexpr std::chrono::milliseconds kRecordInterval{10'000};

  // `what` is being downloaded; `look`, which may be empty, is called some four times a second, and
  // a last time at the end, on the report's thread. A record follows a look that comes at least
  // `record_interval` after the last record, or the beginning.
  ProgressReport(std::string what, const Progress& progress, std::function<void()> look,
                 std::chrono::milliseconds record_interval = kRecordInterval);
  ~ProgressReport();  // the last word
  ProgressReport(const ProgressReport&) = delete;
  ProgressReport& operator=(const ProgressReport&) = delete;

  // Another process brings that file, and is waited for.
  void TellWait(const std::string& file);

 private:
  void Run();
  void Show(double rate);

  const std::string what_;
  const Progress& progress_;
  const std::function<void()> look_;
  const bool terminal_;
  const std::chrono::milliseconds record_interval_;
  Mutex mu_;
  CondVar ended_;
  bool end_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

// How fast bytes have come in the last few seconds, those before counting ever less.
class RecentRate {
 public:
  // So many have come in the last `seconds`, > 0. Returns the rate now, in bytes a second.
  double Add(std::int64_t bytes, double seconds);

 private:
  double rate_ = 0;
  double weight_ = 0;  // of what is known, 0 to 1
};

// "qwen-7b [####--------------]  21 %, 3.2 of 15.2 GB, 110.5 MB/s, 1:49 left, model.safetensors" in
// at most so many columns: the file's name and then the bar go where there is no room for them.
// `rate` in bytes a second; of 0 nobody knows how much time is left.
std::string ProgressLine(const std::string& what, const Progress& progress, double rate,
                         std::size_t columns);

}  // namespace thinkwire::worker::hub

#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include "common/mutex.h"
#include "worker/hub/progress.h"

namespace thinkwire::worker::hub {

// Tells people how far a download is: on a terminal by one line of stderr that is written over and
// over, elsewhere by a log record every 10 s.
// Owns: a thread, from the first to the last moment. Threads: one but for that.
class ProgressReport {
 public:
  // `what` is being downloaded; `look`, which may be empty, is called some four times a second, and
  // a last time at the end, on the report's thread.
  ProgressReport(std::string what, const Progress& progress, std::function<void()> look);
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
  Mutex mu_;
  CondVar ended_;
  bool end_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

// "qwen-7b: 3.2 of 15.2 GB, 21 %, 110.5 MB/s, model-00001-of-00002.safetensors"; `rate` in bytes a
// second.
std::string ProgressLine(const std::string& what, const Progress& progress, double rate);

}  // namespace thinkwire::worker::hub

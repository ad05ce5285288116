#pragma once

#include <cstdint>
#include <string>

namespace thinkwire::router {

// What a worker last said of itself.
struct WorkerStatus {
  std::string served_model_name;
  std::string fingerprint;
  std::int32_t max_model_len = 0;
  std::int32_t queued = 0;
  std::int32_t running = 0;
  std::int32_t max_num_seqs = 1;  // >= 1
  std::int32_t free_kv_blocks = 0;
  std::int32_t total_kv_blocks = 0;
  bool draining = false;
};

// A running watch of one worker.
class StatusWatch {
 public:
  virtual ~StatusWatch() = default;
  // Ends it soon. Threads: any.
  virtual void Cancel() = 0;
};

}  // namespace thinkwire::router

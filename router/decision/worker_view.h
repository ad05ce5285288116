#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "router/decision/crowding.h"

namespace thinkwire::router::decision {

// What a worker last said of itself, to whom each output of a request is one.
struct WorkerStatus {
  std::string served_model_name{};
  std::string fingerprint{};
  std::int32_t max_model_len = 0;
  std::int32_t queued = 0;        // requests that wait for a place, >= 0
  std::int32_t running = 0;       // requests that have one, >= 0
  std::int32_t parked = 0;        // requests that wait for their readers alone, in neither, >= 0
  std::int32_t max_num_seqs = 1;  // places, >= 1
  std::int32_t max_queue = 1;     // requests that may wait for one, >= 1
  std::int32_t free_kv_blocks = 0;
  std::int32_t total_kv_blocks = 0;
  bool draining = false;
  double without_progress_s = 0;  // for how long a rank has stood still while there is work
};

// What a policy may know of one worker.
struct WorkerView {
  std::size_t variant = 0;                    // that it serves
  std::string address{};                      // "host:port"
  std::optional<WorkerStatus> status{};       // while it speaks, and serves its variant
  std::string why_not = "not connected yet";  // why it is not live, for people
  bool out = false;                           // it takes none, whatever it says of itself
  std::int64_t leased = 0;                    // outputs that this router has there now
  std::int64_t given = 0;                     // requests that this router ever gave it
  std::int64_t others = 0;                    // outputs for others, as `status` tells
  std::int64_t parked = 0;                    // of those leased, as `status` tells
  double waiting = 0;                         // its part of those that wait here for its variant
  double silent_s = 0;                        // how old `status` is
  double seconds_per_token = 0;               // of one stream, as seen here lately; 0: never seen
  Crowding crowding{};                        // how much slower several are
  double prompt_tokens_per_s = 0;             // likewise

  // Whether it takes requests.
  bool live() const { return status && !status->draining && !out; }
};

}  // namespace thinkwire::router::decision

#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "worker/kernels/tensor.h"

// What a device is and can do, and points in the order of its work. Letters as in backend.h.
namespace thinkwire::worker::kernels {

enum class DeviceKind : std::uint8_t { kCpu, kCuda };

// Constant while its backend lives.
struct Capabilities {
  std::string name;  // "cpu avx512 2 threads"; the first word decides its bits
  DeviceKind kind = DeviceKind::kCpu;
  DType activation = DType::kF32;  // act of the ops' comments
  std::int64_t only_head_dim = 0;  // the one D that it takes; 0: any
  // Whether replaying a recording saves enough time that steps are padded up to recorded shapes.
  bool gains_by_recording = false;
  bool attends_to_latents = true;  // its multiprocessors have memory enough for that
};

// The largest step that a backend will be given, in one rank's shares.
struct StepExtent {
  std::int64_t max_tokens = 0;    // T
  std::int32_t max_seqs = 0;      // S
  std::int32_t num_kv_heads = 0;  // K
  std::int64_t qkv_rows = 0;      // (H + 2 K) D
  std::int64_t ffn = 0;           // F

  // Of sums between a large product and what follows it: QKV's in f32, or gates and ups in bf16.
  std::int64_t product_bytes() const { return max_tokens * std::max(4 * qkv_rows, 4 * ffn); }
};

// A point in the order of a backend's work. Threads: Record on the backend's own, Wait on any, one
// call at a time.
class Fence {
 public:
  virtual ~Fence() = default;
  // Everything that the backend was given before comes before the fence. Replaces the last Record.
  virtual void Record() = 0;
  // Returns once all that came before the last Record is done. REQUIRES: Record happened before.
  virtual void Wait() = 0;
};

// A point in the order of a backend's work, and the time at which the device came to it. For
// measuring. Threads: Record on the backend's own, SecondsSince on any.
class Stamp {
 public:
  virtual ~Stamp() = default;
  virtual void Record() = 0;  // replaces the last one
  // REQUIRES: both are the same backend's, and what came before either is done.
  virtual double SecondsSince(const Stamp& earlier) const = 0;
};

// Ops that were recorded once and run again over the same memory. Threads: the backend's own.
class Replay {
 public:
  virtual ~Replay() = default;
  virtual void Run() = 0;
};

}  // namespace thinkwire::worker::kernels

#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "worker/kernels/backend.h"

namespace thinkwire::worker::model {

// A failure on purpose, by which tests prove how the process ends. None unless asked for.
struct Fault {
  enum class Kind : std::uint8_t {
    kNone,
    kStuckRank,    // "stuck_rank": the rank's thread never gives the step to its device, so that
                   // the others wait for it in their first collective
    kDeviceError,  // "device_error": the same, after a kernel of the rank's GPU read wild memory
    kStuckEngine,  // "stuck_engine": the engine's thread never comes back from submitting the step
  };
  Kind kind = Kind::kNone;
  std::uint64_t step = 0;  // at which it happens, >= 1
  int rank = 0;
};

// "KIND:STEP" for stuck_engine, "KIND:STEP:RANK" for the others; empty: none.
// Fails: one sentence that says what is allowed.
absl::StatusOr<Fault> ParseFault(std::string_view text);

// What breaks one rank. Threads: the rank's.
class RankFault {
 public:
  // Takes what it needs while nothing else runs. REQUIRES: with kDeviceError, a GPU.
  RankFault(const Fault& fault, int rank, kernels::Backend& backend);

  // Does not return if this is the step and the rank of the fault.
  void Meet(std::uint64_t step);

 private:
  const Fault fault_;
  const int rank_;
  kernels::Backend& backend_;
  kernels::Buffer wild_;  // a row, then the index of one far beyond; none without kDeviceError
};

// Never returns.
[[noreturn]] void Hang();

}  // namespace thinkwire::worker::model

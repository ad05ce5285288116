#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "worker/model/devices.h"
#include "worker/model/follower.h"
#include "worker/model/load_model.h"
#include "worker/model/model_runner.h"
#include "worker/model/plan_channel.h"

namespace thinkwire::worker::model {

// A failure on purpose, by which tests prove how the process ends. The model knows nothing of it:
// what fails is put before what works (WithFault).
struct Fault {
  enum class Kind : std::uint8_t {
    kNone,
    kStuckRank,    // "stuck_rank": the rank's thread never gives the step to its device, so that
                   // the others wait for it in their first collective
    kDeviceError,  // "device_error": the same, after a kernel of the rank's GPU read wild memory
    kStuckEngine,  // "stuck_engine": the engine's thread never comes back from submitting the step
    kSlowSteps,    // "slow_steps": no failure, but a pace: each step takes `step` microseconds at
                   // least, as a GPU's does, of which its rows are a small part
  };
  Kind kind = Kind::kNone;
  std::uint64_t step = 0;  // at which it happens, >= 1
  int rank = 0;
};

// "KIND:STEP" for stuck_engine and slow_steps, "KIND:STEP:RANK" for the others; empty: none.
// Fails: one sentence that says what is allowed.
absl::StatusOr<Fault> ParseFault(std::string_view text);

// What brings a rank its plans until the rank's fault: the step's plan is never given to it.
// `plans` itself where the fault is none of a rank's. Takes what it needs of the device at once,
// while nothing else runs. `devices` must outlive it. Fails: INVALID_ARGUMENT for kDeviceError
// without a GPU.
absl::StatusOr<std::unique_ptr<PlanChannel>> WithFault(std::unique_ptr<PlanChannel> plans,
                                                       const Fault& fault, const Devices& devices);

// What runs `runner` until the engine's fault, or slowly; `runner` itself where the fault is none
// of those.
std::unique_ptr<ModelRunner> WithFault(std::unique_ptr<ModelRunner> runner, const Fault& fault);

// LoadModel with the fault that `text` says. Fails also: as ParseFault, and where the model has no
// such rank or no GPU.
absl::StatusOr<std::unique_ptr<ModelRunner>> LoadModelWithFault(const ModelOptions& options,
                                                                std::unique_ptr<PlanChannel> plans,
                                                                std::string_view text);

// LoadFollower likewise, of which only a rank of this process can be stuck.
absl::StatusOr<std::unique_ptr<Follower>> LoadFollowerWithFault(const ModelOptions& options,
                                                                std::unique_ptr<PlanChannel> plans,
                                                                std::string_view text);

}  // namespace thinkwire::worker::model

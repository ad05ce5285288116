#pragma once

#include <filesystem>
#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/config.h"
#include "worker/hub/progress.h"
#include "worker/hub/pull.h"
#include "worker/hub/settings.h"

namespace thinkwire::worker {

// Brings a model, as hub::Pull.
using Puller =
    std::function<absl::StatusOr<std::filesystem::path>(const hub::PullOptions& options)>;

// Where --model is no folder or file of this machine but a model's name (hub/model_name.h), puts
// the folder of its files in its place: the one in the hub's cache, if that has all of them, which
// asks nobody, else the one that `pull` brings. A name, unless one is given, goes into
// served_model_name: the variant's of a published model, else the repository's own.
// A path that leads nowhere stays as it is, for those who read it to say so.
// Fails: INVALID_ARGUMENT for a name that means no one model, or an environment that
// ReadHubSettings refuses; as hub::Pull.
absl::Status ResolveModel(const hub::Environment& environment, const Puller& pull,
                          WorkerConfig& config);

// hub::Pull with a hub::ProgressReport.
absl::StatusOr<std::filesystem::path> PullAndReport(const hub::PullOptions& options);
// The same; `look` is the report's.
absl::StatusOr<std::filesystem::path> PullAndTell(
    hub::PullOptions options, const std::function<void(const hub::Progress& progress)>& look);

// A variable of this process; nullptr: it is not set.
const char* ProcessEnvironment(const char* name);

// As commands answer that: the environment's mistakes are the configuration's.
int ExitCodeOf(const absl::Status& status);

}  // namespace thinkwire::worker

#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "worker/hub/blob_download.h"
#include "worker/hub/model_name.h"
#include "worker/hub/progress.h"
#include "worker/hub/settings.h"

namespace thinkwire::worker::hub {

struct PullOptions {
  ModelName name{};
  HubSettings settings{};
  std::filesystem::path local_dir{};  // empty: into the cache
  DownloadOptions download{};         // its token and time limit are those of the settings
  // Called before another process is waited for that brings `file`; empty: nobody wants to know.
  std::function<void(const std::string& file)> on_wait{};
};

// Brings the files of a model that a worker needs to where huggingface_hub would, and as it would:
// blobs, links to them, and at last what the revision means. Files that are there are not asked for
// again. Who pulls the same at the same time waits, and finds it done. Blocks.
// Returns the folder that has them. `progress` may be looked at meanwhile.
// Fails: as HubApi, DownloadBlob and BlobLock; NOT_FOUND the repository has no weights that a
// worker reads; RESOURCE_EXHAUSTED the disk has no room for them, with both numbers, before any
// weight is brought; FAILED_PRECONDITION HF_HUB_OFFLINE forbids it.
absl::StatusOr<std::filesystem::path> Pull(const PullOptions& options, Progress& progress);

}  // namespace thinkwire::worker::hub

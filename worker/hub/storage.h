#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "worker/hub/cache.h"
#include "worker/hub/hub_api.h"
#include "worker/hub/model_name.h"

namespace thinkwire::worker::hub {

// Where one file of a model comes to lie.
struct Place {
  std::filesystem::path target{};
  std::filesystem::path incomplete{};  // while it is not whole
  std::filesystem::path lock{};        // of who brings it
};

// Where the files of one commit go. Two processes, of huggingface_hub too, may work on the same
// one. Threads: one. Fails: FAILED_PRECONDITION, with the path and what the system says.
class Storage {
 public:
  virtual ~Storage() = default;

  // The folder that a worker reads.
  virtual const std::filesystem::path& folder() const = 0;
  virtual Place PlaceOf(const HubFile& file) const = 0;
  // Makes the folders of a place.
  absl::Status Prepare(const Place& place) const;
  // Whether the file's bytes are at its place, as whoever put them there has checked.
  virtual bool Has(const HubFile& file) const = 0;
  // The file is at its place: makes it be found.
  virtual absl::Status Settle(const HubFile& file) = 0;
  // All files are.
  virtual absl::Status Finish() = 0;
};

// The cache: blobs, a snapshot's links to them, and what the revision means.
std::unique_ptr<Storage> StoreInCache(const HubCache& cache, const ModelName& name,
                                      const std::string& commit);

// A folder with the files themselves, and below it `.cache/huggingface`, where huggingface_hub too
// keeps which commit each file is of (_local_folder.py).
std::unique_ptr<Storage> StoreInFolder(const std::filesystem::path& folder,
                                       const std::string& commit);

}  // namespace thinkwire::worker::hub

#include "worker/model_source.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/gguf_file.h"
#include "common/last_words.h"
#include "common/log.h"
#include "common/status.h"
#include "common/variant_name.h"
#include "worker/hub/cache.h"
#include "worker/hub/model_name.h"
#include "worker/hub/progress_report.h"

namespace thinkwire::worker {
namespace {

namespace fs = std::filesystem;

// What nobody types who means a model of the hub.
bool LooksLikePath(const std::string& model) {
  return model.front() == '/' || model.front() == '.' || model.front() == '~' ||
         model.back() == '/' || std::ranges::count(model.substr(0, model.find('@')), '/') > 1 ||
         IsGgufPath(model);
}

std::string NameOf(const hub::ModelName& name) {
  return name.variant.empty() ? name.repo.substr(name.repo.find('/') + 1) : name.variant;
}

// The folder, if the cache has every file that is needed.
absl::StatusOr<fs::path> FindWhole(const hub::HubCache& cache, const hub::ModelName& name) {
  ASSIGN_OR_RETURN(const hub::CachedModel model, cache.Find(name));
  if (!model.missing.empty()) {
    return absl::NotFoundError(absl::StrCat(model.folder.string(), " lacks ", model.missing[0]));
  }
  return model.folder;
}

}  // namespace

absl::Status ResolveModel(const hub::Environment& environment, const Puller& pull,
                          WorkerConfig& config) {
  std::error_code unreadable;
  if (fs::exists(config.model, unreadable) || LooksLikePath(config.model)) {
    return absl::OkStatus();
  }
  const auto name = hub::ParseModelName(config.model);
  if (!name.ok()) return Annotate(name.status(), "--model");
  ASSIGN_OR_RETURN(hub::HubSettings settings, hub::ReadHubSettings(environment));
  auto folder = FindWhole(hub::HubCache(settings.cache), *name);
  if (!folder.ok()) folder = pull({.name = *name, .settings = settings});
  RETURN_IF_ERROR(folder.status());
  LogInfo("model found",
          {{"model", name->repo}, {"revision", name->revision}, {"folder", folder->string()}});
  config.model = folder->string();
  if (config.served_model_name.empty()) config.served_model_name = NameOf(*name);
  return absl::OkStatus();
}

absl::StatusOr<fs::path> PullAndTell(
    hub::PullOptions options, const std::function<void(const hub::Progress& progress)>& look) {
  hub::Progress progress;
  hub::ProgressReport report(NameOf(options.name), progress, [&] {
    if (look) look(progress);
  });
  options.on_wait = [&](const std::string& file) { report.TellWait(file); };
  return hub::Pull(options, progress);
}

absl::StatusOr<fs::path> PullAndReport(const hub::PullOptions& options) {
  return PullAndTell(options, nullptr);
}

const char* ProcessEnvironment(const char* name) { return std::getenv(name); }

int ExitCodeOf(const absl::Status& status) {
  const bool ours = absl::IsInvalidArgument(status) || absl::IsNotFound(status) ||
                    absl::IsPermissionDenied(status);
  return ours ? kExitConfig : kExitFailure;
}

}  // namespace thinkwire::worker

#include "worker/list_command.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/last_words.h"
#include "common/shown_text.h"
#include "worker/hub/settings.h"
#include "worker/kernels/devices.h"
#include "worker/model/host_memory.h"
#include "worker/model_source.h"

namespace thinkwire::worker {
namespace {

constexpr char kProgram[] = "thinkwire-worker --list";
constexpr double kGiga = 1e9;
constexpr std::size_t kShownCommit = 12;
constexpr std::size_t kShownError = 200;

std::string KindOf(const model::MemoryPlace& place) {
  return place.device.kind == kernels::DeviceKind::kCuda ? "cuda" : "cpu";
}

// All GPUs, each with what the fullest of them has left, as a model's ranks are alike.
std::vector<model::MemoryPlace> Gpus() {
  const int gpus = kernels::CountGpus();
  if (gpus == 0) return {};
  std::string error;
  const auto backends = kernels::OpenDevices({.device = "cuda", .ranks = gpus}, &error);
  if (backends.empty()) return {};
  model::MemoryPlace place{.device = backends.front()->capabilities(),
                           .free_bytes = backends.front()->FreeMemory(),
                           .devices = gpus,
                           .host_bytes = model::AvailableHostMemory()};
  for (const auto& backend : backends) {
    place.free_bytes = std::min(place.free_bytes, backend->FreeMemory());
  }
  return {place};
}

std::vector<model::MemoryPlace> PlacesHere() {
  std::vector<model::MemoryPlace> places = Gpus();
  model::MemoryPlace& host = places.emplace_back();
  host.device.name = "cpu";
  host.free_bytes = model::AvailableHostMemory();
  return places;
}

std::string Verdict(const hub::CachedModel& model, const model::MemoryPlace& place,
                    const std::string& kv_cache_dtype) {
  const auto fit = model::FitOf(model.folder, place, kv_cache_dtype);
  if (fit.ok()) return model::FitText(*fit);
  return absl::StrCat("cannot be served: ",
                      ShownLine(std::string(fit.status().message()), kShownError));
}

}  // namespace

std::string PlaceLines(const std::vector<model::MemoryPlace>& places) {
  std::string lines;
  for (const model::MemoryPlace& place : places) {
    absl::StrAppendFormat(
        &lines, "%s: %.1f GB are free%s\n", KindOf(place),
        static_cast<double>(place.free_bytes) / kGiga,
        place.device.kind == kernels::DeviceKind::kCpu
            ? ""
            : absl::StrCat(" on each of ", place.devices, " ", place.device.name));
  }
  return lines;
}

std::string ListLines(const hub::CachedModel& model, const std::vector<model::MemoryPlace>& places,
                      const std::string& kv_cache_dtype) {
  const std::string revisions = model.revisions.empty() ? "-" : absl::StrJoin(model.revisions, ",");
  std::string lines = absl::StrFormat("%s  %s  %s  %.1f GB\n", model.repo, revisions,
                                      model.commit.substr(0, kShownCommit),
                                      static_cast<double>(model.bytes) / kGiga);
  if (!model.missing.empty()) {
    return absl::StrCat(lines, "  not whole: lacks ", absl::StrJoin(model.missing, ", "), "\n");
  }
  for (const model::MemoryPlace& place : places) {
    absl::StrAppend(&lines, "  ", KindOf(place), ": ", Verdict(model, place, kv_cache_dtype), "\n");
  }
  return lines;
}

int RunList(const std::string& kv_cache_dtype) {
  const auto settings = hub::ReadHubSettings(ProcessEnvironment);
  if (!settings.ok()) return EndWith(kProgram, kExitConfig, settings.status());
  const std::vector<hub::CachedModel> models = hub::HubCache(settings->cache).List();
  const std::vector<model::MemoryPlace> places = PlacesHere();
  std::printf("%s: %zu models\n%s", settings->cache.c_str(), models.size(),
              PlaceLines(places).c_str());
  for (const hub::CachedModel& model : models) {
    std::fputs(ListLines(model, places, kv_cache_dtype).c_str(), stdout);
  }
  return 0;
}

}  // namespace thinkwire::worker

#include "worker/list_command.h"

#include <cstdio>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/last_words.h"
#include "common/shown_text.h"
#include "worker/hub/settings.h"
#include "worker/model/checkpoint/model_files.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/host_memory.h"
#include "worker/model_source.h"

namespace thinkwire::worker {
namespace {

constexpr char kProgram[] = "thinkwire-worker --list";
constexpr double kGiga = 1e9;
constexpr std::int64_t kContextTokens = 4096;  // of one sequence, as the least that is of use
constexpr std::int64_t kBytesPerElement = 2;   // bfloat16
constexpr std::size_t kShownCommit = 12;

std::int64_t KvBytesPerToken(const model::ModelPlan& plan) {
  std::int64_t elements = 0;
  for (const model::LayerPlan& layer : plan.layers) {
    for (const model::PartPlan& part : layer) {
      for (const model::PlannedPlane& plane : part.kv_planes) {
        elements += plane.width * plan.divided[static_cast<std::size_t>(plane.division)].count;
      }
    }
  }
  return kBytesPerElement * elements;
}

// Of a whole one: what it takes, and whether that is there.
std::string Verdict(const hub::CachedModel& model, std::int64_t free_bytes) {
  const auto config = model::OpenModelFiles(model.folder)->Config();
  if (!config.ok()) {
    return absl::StrCat("cannot be served: ",
                        ShownLine(std::string(config.status().message()), 200));
  }
  const std::int64_t token = KvBytesPerToken(model::MakePlan(*config));
  const std::int64_t needed = model.bytes + kContextTokens * token;
  return absl::StrFormat("%d KV bytes a token, at least %.1f GB with %d tokens: %s", token,
                         static_cast<double>(needed) / kGiga, kContextTokens,
                         needed <= free_bytes ? "fits" : "does not fit");
}

}  // namespace

std::string ListLine(const hub::CachedModel& model, std::int64_t free_bytes) {
  const std::string revisions = model.revisions.empty() ? "-" : absl::StrJoin(model.revisions, ",");
  return absl::StrFormat(
      "%s  %s  %s  %.1f GB  %s", model.repo, revisions, model.commit.substr(0, kShownCommit),
      static_cast<double>(model.bytes) / kGiga,
      model.missing.empty()
          ? Verdict(model, free_bytes)
          : absl::StrCat("not whole: lacks ", absl::StrJoin(model.missing, ", ")));
}

int RunList() {
  const auto settings = hub::ReadHubSettings(ProcessEnvironment);
  if (!settings.ok()) return EndWith(kProgram, kExitConfig, settings.status());
  const std::vector<hub::CachedModel> models = hub::HubCache(settings->cache).List();
  const std::int64_t free_bytes = model::AvailableHostMemory();
  std::printf("%s: %zu models; %.1f GB of memory are free here\n", settings->cache.c_str(),
              models.size(), static_cast<double>(free_bytes) / kGiga);
  for (const hub::CachedModel& model : models) {
    std::printf("%s\n", ListLine(model, free_bytes).c_str());
  }
  return 0;
}

}  // namespace thinkwire::worker

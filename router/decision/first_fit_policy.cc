#include "router/decision/first_fit_policy.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status.h"
#include "common/strings.h"
#include "common/utf8.h"
#include "router/decision/least_loaded.h"
#include "router/decision/variant_names.h"

namespace thinkwire::router::decision {
namespace {

// Names come from clients; errors and reasons repeat no more of one than this.
constexpr std::size_t kMaxShownBytes = 100;

}  // namespace

FirstFitPolicy::FirstFitPolicy(std::vector<VariantConfig> variants)
    : variants_(std::move(variants)) {}

absl::StatusOr<Decision> FirstFitPolicy::Decide(const Query& query,
                                                std::span<const WorkerView> workers) const {
  ASSIGN_OR_RETURN(VariantChoice variant, ChooseVariant(query));
  std::optional<WorkerChoice> worker = ChooseLeastLoaded(variant.variant, workers, query.tried);
  if (!worker) return NoLiveWorker(variants_[variant.variant].name, variant.variant, workers);
  return Decision{.variant = variant.variant,
                  .worker = worker->worker,
                  .variant_reason = std::move(variant.reason),
                  .worker_reason = std::move(worker->reason)};
}

absl::StatusOr<FirstFitPolicy::VariantChoice> FirstFitPolicy::ChooseVariant(
    const Query& query) const {
  if (!query.variant.empty()) return Named(query.variant);
  if (query.task) {
    for (std::size_t i = 0; i < variants_.size(); ++i) {
      if (std::ranges::find(variants_[i].tasks, *query.task) == variants_[i].tasks.end()) continue;
      return VariantChoice{i, absl::StrCat("preferred for the task ", View(TaskName(*query.task)))};
    }
  }
  return ByLength(query.prompt_bytes);
}

absl::StatusOr<FirstFitPolicy::VariantChoice> FirstFitPolicy::Named(const std::string& name) const {
  for (std::size_t i = 0; i < variants_.size(); ++i) {
    if (absl::EqualsIgnoreCase(variants_[i].name, name)) {
      return VariantChoice{i, "named by the request"};
    }
  }
  for (std::size_t i = 0; i < variants_.size(); ++i) {
    if (HasAlias(variants_[i], name)) {
      return VariantChoice{i,
                           absl::StrCat("named by the request as ", CutText(name, kMaxShownBytes))};
    }
  }
  std::string message = absl::StrCat(
      "no variant \"", CutText(name, kMaxShownBytes), "\" here; there is ",
      absl::StrJoin(variants_, ", ", [](std::string* out, const VariantConfig& variant) {
        out->append(variant.name);
      }));
  if (const std::string_view why = WhyAmbiguous(name); !why.empty()) {
    absl::StrAppend(&message, " (", View(why), ")");
  }
  return absl::NotFoundError(message);
}

FirstFitPolicy::VariantChoice FirstFitPolicy::ByLength(std::size_t prompt_bytes) const {
  if (variants_.size() == 1) return {0, "the only variant here"};
  for (std::size_t i = 0; i < variants_.size(); ++i) {
    const std::int64_t limit = variants_[i].max_prompt_bytes;
    if (limit == 0) {
      return {i,
              absl::StrCat("takes prompts of any length, this one has ", prompt_bytes, " bytes")};
    }
    if (prompt_bytes <= static_cast<std::size_t>(limit)) {
      return {
          i, absl::StrCat("the prompt's ", prompt_bytes, " bytes are within its limit of ", limit)};
    }
  }
  return {variants_.size() - 1,
          absl::StrCat("the prompt's ", prompt_bytes,
                       " bytes are over every limit, and this is the last variant")};
}

}  // namespace thinkwire::router::decision

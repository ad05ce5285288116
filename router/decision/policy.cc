#include "router/decision/policy.h"

#include <iterator>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace thinkwire::router::decision {
namespace {

// Where the error keeps the name, since people alone are to read its message.
constexpr char kVariantPayload[] = "thinkwire/variant";

constexpr std::string_view kCauseNames[] = {"named", "substitute", "only",   "preferred",
                                            "score", "deadline",   "context"};
static_assert(std::size(kCauseNames) == std::size(kAllCauses));

}  // namespace

std::string_view CauseName(Cause cause) { return kCauseNames[static_cast<std::size_t>(cause)]; }

std::string_view PrefixUse(const Decision& decision, double cached_tokens) {
  if (decision.cached_tokens <= 0) return decision.cached_elsewhere ? "elsewhere" : "unknown";
  return cached_tokens >= decision.cached_tokens / 2 ? "hit" : "miss";
}

absl::Status NoLiveWorker(const std::string& name, std::size_t variant,
                          std::span<const WorkerView> workers) {
  std::string why = "none is known yet";
  for (const WorkerView& worker : workers) {
    if (worker.variant != variant) continue;
    why = absl::StrCat(worker.address, ": ", worker.why_not);
    break;
  }
  absl::Status status =
      absl::UnavailableError(absl::StrCat("no worker of ", name, " is live (", why, ")"));
  status.SetPayload(kVariantPayload, absl::Cord(name));
  return status;
}

std::string UnavailableVariant(const absl::Status& status) {
  return std::string(status.GetPayload(kVariantPayload).value_or(absl::Cord()));
}

}  // namespace thinkwire::router::decision

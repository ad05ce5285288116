#include "router/first_fit_policy.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/rpc/status_details.h"
#include "router/variant_names.h"

namespace thinkwire::router {
namespace {

// Names come from clients; an error repeats no more of one than this.
constexpr std::size_t kMaxNameInError = 100;

bool HasAlias(const VariantConfig& variant, const std::string& name) {
  const auto matches = [&](const std::string& alias) { return MatchesAlias(name, alias); };
  return std::ranges::any_of(variant.aliases, matches) ||
         std::ranges::any_of(KnownAliases(variant.name), matches);
}

}  // namespace

FirstFitPolicy::FirstFitPolicy(const RouterConfig& config) : variants_(config.variants) {}

absl::StatusOr<Route> FirstFitPolicy::Choose(const RouteQuery& query) const {
  if (!query.variant.empty()) return Named(query.variant);
  if (query.task) {
    for (std::size_t i = 0; i < variants_.size(); ++i) {
      if (std::ranges::find(variants_[i].tasks, *query.task) == variants_[i].tasks.end()) continue;
      const std::string_view task = TaskName(*query.task);
      return Route{
          i, absl::StrCat("preferred for the task ", absl::string_view(task.data(), task.size()))};
    }
  }
  return ByLength(query.prompt_bytes);
}

absl::StatusOr<Route> FirstFitPolicy::Named(const std::string& name) const {
  for (std::size_t i = 0; i < variants_.size(); ++i) {
    if (absl::EqualsIgnoreCase(variants_[i].name, name)) return Route{i, "named by the request"};
  }
  for (std::size_t i = 0; i < variants_.size(); ++i) {
    if (HasAlias(variants_[i], name)) {
      return Route{i, absl::StrCat("named by the request as ", name)};
    }
  }
  std::string message = absl::StrCat(
      "no variant \"", name.substr(0, kMaxNameInError), "\" here; there is ",
      absl::StrJoin(variants_, ", ", [](std::string* out, const VariantConfig& variant) {
        out->append(variant.name);
      }));
  if (const std::string_view why = WhyAmbiguous(name); !why.empty()) {
    absl::StrAppend(&message, " (", absl::string_view(why.data(), why.size()), ")");
  }
  return rpc::Error(absl::StatusCode::kNotFound, "VARIANT_NOT_FOUND", message);
}

Route FirstFitPolicy::ByLength(std::size_t prompt_bytes) const {
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

}  // namespace thinkwire::router

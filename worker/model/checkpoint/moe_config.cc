#include "worker/model/checkpoint/moe_config.h"

#include "absl/strings/str_cat.h"
#include "common/shown_text.h"

namespace thinkwire::worker::model {
namespace {

constexpr std::int64_t kMostExperts = 4096;
constexpr std::int64_t kMostExpertsPerToken = 64;
constexpr std::int64_t kMostColumns = std::int64_t{1} << 20;

// One field, and where its values end.
struct RangedField {
  absl::string_view name;
  std::int64_t value;
  std::int64_t low;
  std::int64_t high;
};

absl::Status Refuse(absl::string_view file, absl::string_view field, absl::string_view value,
                    absl::string_view supported) {
  return absl::InvalidArgumentError(
      absl::StrCat(file, ": ", field, " is ", value, "; supported: ", supported));
}

absl::Status CheckRanges(const MoeConfig& config, std::int64_t num_layers, absl::string_view file) {
  const RangedField fields[] = {
      {"n_routed_experts", config.n_routed_experts, 1, kMostExperts},
      {"num_experts_per_tok", config.num_experts_per_tok, 1, kMostExpertsPerToken},
      {"n_group", config.n_group, 1, config.n_routed_experts},
      {"topk_group", config.topk_group, 1, config.n_group},
      {"n_shared_experts", config.n_shared_experts, 0, kMostExpertsPerToken},
      {"moe_intermediate_size", config.moe_intermediate_size, 1, kMostColumns},
      {"first_k_dense_replace", config.first_k_dense_replace, 0, num_layers}};
  for (const RangedField& field : fields) {
    if (field.value >= field.low && field.value <= field.high) continue;
    return Refuse(file, field.name, absl::StrCat(field.value),
                  absl::StrCat("an integer from ", field.low, " to ", field.high));
  }
  return absl::OkStatus();
}

absl::Status CheckGroups(const MoeConfig& config, absl::string_view file) {
  if (config.n_routed_experts % config.n_group != 0) {
    return Refuse(file, "n_group", absl::StrCat(config.n_group),
                  absl::StrCat("a divisor of n_routed_experts, ", config.n_routed_experts));
  }
  const std::int64_t group = config.n_routed_experts / config.n_group;
  if (config.n_group > 1 && group < 2) {
    return Refuse(file, "n_group", absl::StrCat(config.n_group),
                  "1, or groups of at least 2 experts: a group's score is its two best");
  }
  if (config.num_experts_per_tok > config.topk_group * group) {
    return Refuse(file, "num_experts_per_tok", absl::StrCat(config.num_experts_per_tok),
                  absl::StrCat("at most ", config.topk_group * group, ", what topk_group ",
                               config.topk_group, " groups of ", group, " experts hold"));
  }
  return absl::OkStatus();
}

absl::Status CheckMethod(const MoeConfig& config, absl::string_view file) {
  if (config.scoring_func != "sigmoid") {
    return Refuse(file, "scoring_func", ShownText(config.scoring_func), "sigmoid");
  }
  if (config.topk_method != "noaux_tc") {
    return Refuse(file, "topk_method", ShownText(config.topk_method), "noaux_tc");
  }
  const double factor = config.routed_scaling_factor;
  if (!(factor > 0 && factor <= 1e6)) {
    return Refuse(file, "routed_scaling_factor", absl::StrCat(factor),
                  "a number above 0, at most 1e6");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckMoeConfig(const MoeConfig& config, std::int64_t num_layers,
                            absl::string_view file) {
  if (absl::Status status = CheckRanges(config, num_layers, file); !status.ok()) return status;
  if (absl::Status status = CheckGroups(config, file); !status.ok()) return status;
  return CheckMethod(config, file);
}

}  // namespace thinkwire::worker::model

#include "worker/model/checkpoint/rope_config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/input_limits.h"
#include "common/status.h"

namespace thinkwire::worker::model {
namespace {

using nlohmann::json;

constexpr double kLeastFactor = 1e-3;
constexpr double kMostFactor = 1e6;
constexpr char kSupportedTypes[] = "default, linear, dynamic, llama3, yarn";
constexpr char kOriginal[] = "original_max_position_embeddings";

// The object and where it stands; no object where neither key says anything.
struct ScalingObject {
  const char* key = "rope_parameters";
  const json* object = nullptr;
};

absl::StatusOr<const json*> NonEmptyObject(const ConfigReader& config, const char* key) {
  const json* found = config.Find(key);
  if (found == nullptr) return nullptr;
  if (!found->is_object()) return config.Refuse(key, "an object");
  return found->empty() ? nullptr : found;
}

absl::StatusOr<ScalingObject> FindScaling(const ConfigReader& config,
                                          std::vector<std::string>& warnings) {
  ASSIGN_OR_RETURN(const json* classic, NonEmptyObject(config, "rope_scaling"));
  ASSIGN_OR_RETURN(const json* modern, NonEmptyObject(config, "rope_parameters"));
  if (classic == nullptr) return ScalingObject{"rope_parameters", modern};
  if (modern != nullptr && *classic != *modern) {
    warnings.push_back(absl::StrCat(config.name(), ": rope_scaling ", config.Shown("rope_scaling"),
                                    " is obeyed, rope_parameters ", config.Shown("rope_parameters"),
                                    " is not"));
  }
  return ScalingObject{"rope_scaling", classic};
}

// Reads `key` of both, the winner's if both have it.
absl::Status ReadFirst(const ConfigReader& winner, const ConfigReader& loser, const char* key,
                       double low, double high, double& value, std::vector<std::string>& warnings) {
  double lost = value;
  RETURN_IF_ERROR(loser.OptionalNumber(key, low, high, lost));
  value = lost;
  RETURN_IF_ERROR(winner.OptionalNumber(key, low, high, value));
  if (winner.Has(key) && loser.Has(key) && lost != value) {
    warnings.push_back(absl::StrCat(winner.name(), ": ", key, " ", value, " is obeyed, that of ",
                                    loser.name(), ", ", lost, ", is not"));
  }
  return absl::OkStatus();
}

// The paper's temperature of the scores, as a factor of queries and keys: equation 22.
double Temperature(double factor, double scale) {
  return factor <= 1 ? 1 : 0.1 * scale * std::log(factor) + 1;
}

// The scaling of one type, from the object that says so.
class ScalingReader {
 public:
  ScalingReader(const ConfigReader& config, const ConfigReader& scaling,
                std::int64_t max_position_embeddings, std::vector<std::string>& warnings)
      : config_(config),
        scaling_(scaling),
        max_positions_(static_cast<double>(max_position_embeddings)),
        warnings_(warnings) {}

  absl::Status Read(RopeConfig& rope) {
    ASSIGN_OR_RETURN(const std::string type, Type());
    if (type == "default") return absl::OkStatus();
    if (type == "linear") return ReadLinear(rope.scaling);
    if (type == "dynamic") return ReadDynamic();
    if (type == "llama3") return ReadLlama3(rope.scaling);
    if (type == "yarn") return ReadYarn(rope);
    return scaling_.Refuse(type_key_, kSupportedTypes);
  }

 private:
  absl::StatusOr<std::string> Type() {
    const json* type = scaling_.Find("rope_type");
    const json* old = scaling_.Find("type");
    if (type != nullptr && old != nullptr && *type != *old) {
      warnings_.push_back(absl::StrCat(scaling_.name(), ": rope_type ", scaling_.Shown("rope_type"),
                                       " is obeyed, type ", scaling_.Shown("type"), " is not"));
    }
    if (type == nullptr && old == nullptr) return "default";
    type_key_ = type != nullptr ? "rope_type" : "type";
    const json& named = type != nullptr ? *type : *old;
    if (!named.is_string()) return scaling_.Refuse(type_key_, kSupportedTypes);
    return named.get<std::string>();
  }

  absl::Status Factor(const char* key, double& value) const {
    return scaling_.Number(key, kLeastFactor, kMostFactor, value);
  }

  absl::Status ReadLinear(RopeScaling& out) const {
    LinearRopeScaling linear;
    RETURN_IF_ERROR(Factor("factor", linear.factor));
    out = linear;
    return absl::OkStatus();
  }

  absl::Status ReadDynamic() {
    double factor = 1;
    RETURN_IF_ERROR(Factor("factor", factor));
    warnings_.push_back(absl::StrCat(scaling_.name(),
                                     ": dynamic rope begins beyond max_position_embeddings ",
                                     max_positions_, ", where nothing is served"));
    return absl::OkStatus();
  }

  absl::Status ReadOriginal(double& original) {
    original = max_positions_;
    return ReadFirst(config_, scaling_, kOriginal, 1, kMaxPositions, original, warnings_);
  }

  absl::Status ReadLlama3(RopeScaling& out) {
    Llama3RopeScaling llama;
    RETURN_IF_ERROR(Factor("factor", llama.factor));
    RETURN_IF_ERROR(Factor("low_freq_factor", llama.low_freq_factor));
    RETURN_IF_ERROR(Factor("high_freq_factor", llama.high_freq_factor));
    RETURN_IF_ERROR(ReadOriginal(llama.original_max_position_embeddings));
    if (llama.high_freq_factor <= llama.low_freq_factor) {
      return scaling_.Refuse("high_freq_factor",
                             absl::StrCat("more than low_freq_factor ", llama.low_freq_factor));
    }
    out = llama;
    return absl::OkStatus();
  }

  // A beta of 0 counts as unset, as there.
  absl::Status ReadBeta(const char* key, double& beta) const {
    double value = 0;
    RETURN_IF_ERROR(scaling_.OptionalNumber(key, 0, kMostFactor, value));
    if (value != 0) beta = value;
    return absl::OkStatus();
  }

  absl::Status ReadAttentionFactor(YarnRopeScaling& yarn) const {
    double scale = 0;
    double& scale_of_all = yarn.mscale_all_dim;
    RETURN_IF_ERROR(scaling_.OptionalNumber("mscale", 0, kMostFactor, scale));
    RETURN_IF_ERROR(scaling_.OptionalNumber("mscale_all_dim", 0, kMostFactor, scale_of_all));
    yarn.attention_factor = Temperature(yarn.factor, 1);
    if (scale != 0 && scale_of_all != 0) {
      yarn.attention_factor =
          Temperature(yarn.factor, scale) / Temperature(yarn.factor, scale_of_all);
    }
    return scaling_.OptionalNumber("attention_factor", 0, kMostFactor, yarn.attention_factor);
  }

  absl::Status ReadYarn(RopeConfig& rope) {
    YarnRopeScaling yarn;
    RETURN_IF_ERROR(ReadOriginal(yarn.original_max_position_embeddings));
    yarn.factor = max_positions_ / yarn.original_max_position_embeddings;
    RETURN_IF_ERROR(scaling_.OptionalNumber("factor", kLeastFactor, kMostFactor, yarn.factor));
    RETURN_IF_ERROR(ReadAttentionFactor(yarn));
    RETURN_IF_ERROR(ReadBeta("beta_fast", yarn.beta_fast));
    RETURN_IF_ERROR(ReadBeta("beta_slow", yarn.beta_slow));
    RETURN_IF_ERROR(scaling_.OptionalBool("truncate", yarn.truncate));
    if (rope.theta <= 1) return config_.Refuse("rope_theta", "more than 1 with yarn");
    rope.scaling = yarn;
    return absl::OkStatus();
  }

  const ConfigReader& config_;
  const ConfigReader& scaling_;
  const double max_positions_;
  std::vector<std::string>& warnings_;
  const char* type_key_ = "rope_type";
};

// Parameters by kind of layer are for models whose layers differ.
absl::Status RefuseNested(const ConfigReader& config, const ScalingObject& found) {
  for (const json& value : *found.object) {
    if (value.is_object()) return config.Refuse(found.key, "one set of parameters for all layers");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadRope(const ConfigReader& config, std::int64_t max_position_embeddings,
                      RopeConfig& rope, std::vector<std::string>& warnings) {
  ASSIGN_OR_RETURN(const ScalingObject found, FindScaling(config, warnings));
  if (found.object == nullptr) {
    return config.OptionalNumber("rope_theta", 1, kMaxRopeTheta, rope.theta);
  }
  RETURN_IF_ERROR(RefuseNested(config, found));
  const ConfigReader scaling(*found.object, absl::StrCat(config.name(), ": ", found.key));
  RETURN_IF_ERROR(ReadFirst(scaling, config, "rope_theta", 1, kMaxRopeTheta, rope.theta, warnings));
  RETURN_IF_ERROR(scaling.OnlyNumber("partial_rotary_factor", 1.0));
  return ScalingReader(config, scaling, max_position_embeddings, warnings).Read(rope);
}

double ScoreFactor(const RopeConfig& rope) {
  const auto* yarn = std::get_if<YarnRopeScaling>(&rope.scaling);
  if (yarn == nullptr || yarn->mscale_all_dim == 0) return 1;
  const double temperature = Temperature(yarn->factor, yarn->mscale_all_dim);
  return temperature * temperature;
}

std::int64_t StretchedPositions(const RopeConfig& rope) {
  const auto* yarn = std::get_if<YarnRopeScaling>(&rope.scaling);
  if (yarn == nullptr) return 0;
  const double positions = yarn->factor * yarn->original_max_position_embeddings;
  return static_cast<std::int64_t>(std::min(positions, static_cast<double>(kMaxPositions)));
}

}  // namespace thinkwire::worker::model

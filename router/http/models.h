#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::router::http {

// The variants as OpenAI's models; "auto" comes first, by which the router chooses. Each has its
// context (max_model_len, as vLLM tells it) and how many of its workers are live.
std::string ModelsJson(const std::vector<v1::Variant>& variants);

// One of them, by any of its names. Fails: NOT_FOUND.
absl::StatusOr<std::string> ModelJson(const std::vector<v1::Variant>& variants,
                                      std::string_view name);

// The one that has the name, or null; "auto" is none of them.
const v1::Variant* FindVariant(const std::vector<v1::Variant>& variants, std::string_view name);
// NOT_FOUND, as clients are told it.
absl::Status NoSuchModel(std::string_view name);

// Whether any has a live worker, and how many each has.
struct Health {
  bool live = false;
  std::string json{};
};
Health HealthOf(const std::vector<v1::Variant>& variants);

}  // namespace thinkwire::router::http

#include "router/decision/variant_names.h"

#include <algorithm>
#include <utility>

namespace thinkwire::router::decision {
namespace {

struct Aliases {
  std::string variant;
  std::vector<std::string> all;
};

std::vector<Aliases> AllAliases() {
  std::vector<Aliases> out;
  for (const PublishedModel& model : PublishedModels()) {
    Aliases aliases{model.variant, {model.repo}};
    aliases.all.insert(aliases.all.end(), model.tags.begin(), model.tags.end());
    out.push_back(std::move(aliases));
  }
  return out;
}

}  // namespace

const std::vector<std::string>& KnownAliases(std::string_view variant_name) {
  static const auto& none = *new std::vector<std::string>;
  static const auto& all = *new std::vector<Aliases>(AllAliases());
  for (const Aliases& aliases : all) {
    if (aliases.variant == variant_name) return aliases.all;
  }
  return none;
}

bool HasAlias(const VariantConfig& variant, std::string_view name) {
  const auto matches = [&](const std::string& alias) { return MatchesAlias(name, alias); };
  return std::ranges::any_of(variant.aliases, matches) ||
         std::ranges::any_of(KnownAliases(variant.name), matches);
}

}  // namespace thinkwire::router::decision

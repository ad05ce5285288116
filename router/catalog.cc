#include "router/catalog.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace thinkwire::router {
namespace {

std::vector<std::size_t> FirstIndices(std::size_t number) {
  std::vector<std::size_t> indices(number);
  std::iota(indices.begin(), indices.end(), std::size_t{0});
  return indices;
}

// Of the variant of that name, or of one more.
std::size_t IndexOf(const std::string& name, const std::vector<VariantConfig>& variants) {
  return std::ranges::find_if(variants,
                              [&](const VariantConfig& variant) {
                                return absl::EqualsIgnoreCase(variant.name, name);
                              }) -
         variants.begin();
}

}  // namespace

Catalog::Catalog(RouterConfig config)
    : variants_(std::move(config.variants)),
      configured_(FirstIndices(variants_.size())),
      policy_(variants_, configured_) {}

Catalog::Catalog(std::vector<VariantConfig> variants, std::vector<std::size_t> configured)
    : variants_(std::move(variants)),
      configured_(std::move(configured)),
      policy_(variants_, configured_) {}

absl::StatusOr<std::shared_ptr<const Catalog>> Catalog::After(const Catalog& before,
                                                              RouterConfig config) {
  std::vector<VariantConfig> variants = before.variants();
  for (VariantConfig& known : variants) known.workers.clear();
  std::vector<std::size_t> configured;
  for (VariantConfig& variant : config.variants) {
    const std::size_t index = IndexOf(variant.name, variants);
    if (index == variants.size()) variants.emplace_back();
    variants[index] = std::move(variant);
    configured.push_back(index);
  }
  if (variants.size() > kMaxNames) {
    return absl::ResourceExhaustedError(
        absl::StrCat("more than ", kMaxNames,
                     " names of variants since the start: the next ones need a restart"));
  }
  return std::shared_ptr<const Catalog>(new Catalog(std::move(variants), std::move(configured)));
}

bool Catalog::IsConfigured(std::size_t variant) const {
  return std::ranges::find(configured_, variant) != configured_.end();
}

}  // namespace thinkwire::router

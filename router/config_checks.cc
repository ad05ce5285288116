#include "router/config_checks.h"

#include <map>
#include <set>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "router/worker_address.h"

namespace thinkwire::router {
namespace {

absl::Status CheckNames(const VariantConfig& variant, std::set<std::string>& names) {
  std::vector<std::string> all = variant.aliases;
  all.push_back(variant.name);
  for (const std::string& name : all) {
    if (!names.insert(absl::AsciiStrToLower(name)).second) {
      return absl::InvalidArgumentError(absl::StrCat("the name '", name, "' is given twice"));
    }
  }
  return absl::OkStatus();
}

// `workers`: by what their addresses mean.
absl::Status CheckWorkers(const VariantConfig& variant,
                          std::map<std::string, std::string>& workers) {
  for (const std::string& address : variant.workers) {
    const auto [other, is_new] = workers.emplace(CanonicalAddress(address), address);
    if (is_new) continue;
    const std::string as =
        other->second == address ? "" : absl::StrCat(", first as ", other->second);
    return absl::InvalidArgumentError(absl::StrCat("the worker ", address, " is given twice", as));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckUnique(const std::vector<VariantConfig>& variants) {
  std::set<std::string> names;
  std::map<std::string, std::string> workers;
  for (const VariantConfig& variant : variants) {
    RETURN_IF_ERROR(CheckNames(variant, names));
    RETURN_IF_ERROR(CheckWorkers(variant, workers));
  }
  return absl::OkStatus();
}

}  // namespace thinkwire::router

#include "router/config_reload.h"

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"
#include "router/config.h"

namespace thinkwire::router {
namespace {

double UnixSeconds() {
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  return now.count();
}

std::vector<std::string> NamesOf(const Catalog& catalog) {
  std::vector<std::string> names;
  for (const VariantConfig& variant : catalog.variants()) names.push_back(variant.name);
  return names;
}

// Of those that are configured in `some` and not in `others`, with a space after each.
std::string NamesOnlyIn(const Catalog& some, const Catalog& others) {
  std::string names;
  for (const std::size_t variant : some.configured()) {
    if (!others.IsConfigured(variant)) absl::StrAppend(&names, some.variants()[variant].name, " ");
  }
  return names;
}

}  // namespace

ConfigReload::ConfigReload(Shared shared)
    : shared_(std::move(shared)),
      watch_(
          {shared_.path}, [this] { Reload(); }, shared_.look_every) {
  shared_.metrics.SucceedConfig(UnixSeconds());
}

void ConfigReload::Reload() {
  MutexLock lock(mu_);
  const absl::Status status = Take();
  if (status.ok()) return;
  shared_.metrics.FailConfig();
  LogWarning("configuration not reloaded: the old one stays",
             {{"error", std::string(status.message())}});
}

absl::Status ConfigReload::Take() {
  ASSIGN_OR_RETURN(RouterConfig config, LoadConfig(shared_.path));
  const std::shared_ptr<const Catalog> before = shared_.catalog.Get();
  ASSIGN_OR_RETURN(const std::shared_ptr<const Catalog> next,
                   Catalog::After(*before, std::move(config)));
  Swap(next);
  shared_.metrics.SucceedConfig(UnixSeconds());
  LogInfo("configuration reloaded",
          {{"variants", next->configured().size()},
           {"added", NamesOnlyIn(*next, *before)},
           {"removed", NamesOnlyIn(*before, *next)},
           {"unchanged", "options of the command line, which need a restart"}});
  return absl::OkStatus();
}

// A request must find whatever its catalog has an index for, so that the catalog is the last of
// what grows and the first of what shrinks.
void ConfigReload::Swap(const std::shared_ptr<const Catalog>& next) {
  shared_.metrics.AddVariants(NamesOf(*next));
  shared_.pool.Introduce(next->variants());
  shared_.pool.AwaitSuccessors(next->variants(), shared_.replace_time);
  shared_.catalog.Set(next);
  shared_.pool.Retire(next->variants());
  if (shared_.on_taken) shared_.on_taken();
}

}  // namespace thinkwire::router

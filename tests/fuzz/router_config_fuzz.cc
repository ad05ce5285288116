// Any bytes as a router's YAML: refused in one short line, or variants within the limits.
#include <cstddef>
#include <cstdint>
#include <string>

#include "common/check.h"
#include "router/config.h"
#include "tests/fuzz/refusal.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string yaml(reinterpret_cast<const char*>(data), size);
  const auto config = thinkwire::router::ParseConfig(yaml, "router.yaml");
  if (!config.ok()) {
    thinkwire::fuzz::CheckRefusal(config.status());
    return 0;
  }
  CHECK(!config->variants.empty(), "something to serve");
  for (const thinkwire::router::VariantConfig& variant : config->variants) {
    CHECK(!variant.name.empty() && variant.name.size() <= 64, "a variant has a name");
    CHECK(!variant.workers.empty(), "a variant has a worker");
  }
  return 0;
}

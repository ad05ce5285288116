// Any bytes as the file of API keys: refused in one short line that shows none of its words that
// may be a key, or tenants within the limits.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "common/check.h"
#include "common/input_limits.h"
#include "router/tenants.h"
#include "tests/fuzz/refusal.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto tenants = thinkwire::router::Tenants::Parse(text, "keys");
  if (!tenants.ok()) {
    thinkwire::fuzz::CheckRefusal(tenants.status());
    return 0;
  }
  const std::size_t count = tenants->names().size();
  CHECK(count > 0 && count <= thinkwire::kMaxTenants, "some tenants, and not too many");
  for (const std::string& name : tenants->names()) {
    CHECK(!name.empty() && name.size() <= thinkwire::kMaxTenantNameBytes, "a tenant has a name");
  }
  const std::string found = tenants->OfKey(std::string(64, 'a'));
  CHECK(found.empty() || std::ranges::find(tenants->names(), found) != tenants->names().end(),
        "whoever has the key is one of them");
  return 0;
}

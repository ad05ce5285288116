// Any bytes as a plan from another host: refused, or a plan that has these bytes and no others.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/check.h"
#include "worker/step/plan_encoding.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto plan = thinkwire::worker::step::DecodePlan(bytes);
  if (!plan.has_value()) return 0;
  CHECK(thinkwire::worker::step::EncodePlan(*plan) == bytes, "one form for each plan");
  return 0;
}

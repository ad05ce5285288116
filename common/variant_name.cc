#include "common/variant_name.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "common/input_limits.h"

namespace thinkwire {

static_assert(kMaxVariantNameBytes == 64, "as kVariantNameRule says");

bool IsVariantName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxVariantNameBytes &&
         std::ranges::all_of(name, [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' ||
                  c == '-';
         });
}

}  // namespace thinkwire

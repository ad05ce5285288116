#pragma once

#include <string_view>

namespace thinkwire {

// What a message says of a name that is none.
inline constexpr char kVariantNameRule[] = "1 to 64 of letters, digits, '.', '_', '-'";

// Whether `name` can be a variant's: the router's file and a worker that it shall find have one
// rule.
bool IsVariantName(std::string_view name);

}  // namespace thinkwire

#pragma once

#include <string>
#include <string_view>

namespace thinkwire::worker::text {

// `utf8` (valid) in Unicode normalisation form C: itself if it already is, else the normalised text
// in `*buffer`, which the result then points into.
std::string_view NormalizeNfc(std::string_view utf8, std::string* buffer);

}  // namespace thinkwire::worker::text

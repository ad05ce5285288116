#pragma once

#include <string_view>

namespace thinkwire::router::consensus {

// Whether `text`, of PlainText, is a unit, or what is counted: words of school mathematics and
// physics ("cm", "square meters", "miles per hour", "km/h", "m^2", "ways"), so joined. Letters are
// lower case. Threads: any.
bool IsUnit(std::string_view text);

}  // namespace thinkwire::router::consensus

#pragma once

#include <string>

namespace thinkwire {

// A value or the end of a range as a message says it: a whole number by all of its digits, any
// other by the fewest that tell it from the numbers beside it, of a float where it is one ("0.1").
std::string ShownNumber(double value);

}  // namespace thinkwire

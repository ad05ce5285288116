#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace thinkwire::router::consensus {

// The number that `text`, of PlainText, is as a whole, written in the one way in which equal
// numbers are written; nullopt: it is none. Numbers are
//
// - whole ones and decimals with any number of digits, with commas, blanks or underscores between
//   thousands: "1,234.50" is "1234.5", "-0" is "0", "2." is "2", ".5" is "0.5";
// - with a power of ten: "1.5*10^3", "1.5e3", up to 10^30;
// - fractions of these, "a/b" or \frac{a}{b}, and mixed ones, "1 1/2", 1\frac{1}{2}: lowest terms,
//   "3/6" is "0.5" and "-4/6" is "-2/3", where both parts have 18 digits at most;
// - with a unit behind (units.h), which says nothing: answers to one question have the same. A
// single
//   letter is one only after a blank.
//
// Linear in the text. Threads: any.
std::optional<std::string> ReadNumber(std::string_view text);

}  // namespace thinkwire::router::consensus

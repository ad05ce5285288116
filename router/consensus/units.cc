#include "router/consensus/units.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace thinkwire::router::consensus {
namespace {

using std::string_view;

// Ascending. A word may have an "s" behind.
constexpr auto kWords = std::to_array<string_view>({
    "acre",       "amp",        "ampere",     "apple",      "atm",       "banana",
    "bar",        "bit",        "book",       "boxe",       "boy",       "byte",
    "c",          "cal",        "calorie",    "car",        "case",      "cc",
    "celsius",    "cent",       "centimeter", "centimetre", "child",     "children",
    "choice",     "circle",     "cl",         "cm",         "coin",      "combination",
    "cookie",     "coulomb",    "cubic",      "cup",        "day",       "decade",
    "degree",     "digit",      "dl",         "dm",         "dollar",    "dozen",
    "edge",       "egg",        "element",    "euro",       "ev",        "f",
    "face",       "fahrenheit", "farad",      "feet",       "foot",      "ft",
    "g",          "gal",        "gallon",     "game",       "gb",        "ghz",
    "girl",       "gm",         "gram",       "h",          "hectare",   "hertz",
    "hour",       "hp",         "hr",         "hz",         "inch",      "inche",
    "integer",    "item",       "j",          "joule",      "k",         "kb",
    "kelvin",     "kg",         "khz",        "kilogram",   "kilometer", "kilometre",
    "kj",         "km",         "kmh",        "kmph",       "kn",        "kph",
    "kw",         "kwh",        "l",          "lb",         "length",    "liter",
    "litre",      "m",          "marble",     "mb",         "men",       "meter",
    "metre",      "mg",         "mhz",        "mile",       "milligram", "milliliter",
    "millimeter", "min",        "minute",     "mj",         "ml",        "mm",
    "mol",        "mole",       "month",      "mph",        "ms",        "n",
    "newton",     "nm",         "number",     "ohm",        "orange",    "ounce",
    "outcome",    "oz",         "pa",         "page",       "pair",      "part",
    "pascal",     "pencil",     "pennie",     "people",     "percent",   "permutation",
    "person",     "piece",      "pint",       "point",      "pound",     "psi",
    "quart",      "rad",        "radian",     "s",          "score",     "sec",
    "second",     "solution",   "sq",         "sqft",       "sqin",      "square",
    "step",       "student",    "tb",         "ticket",     "time",      "ton",
    "tonne",      "tree",       "triangle",   "unit",       "usd",       "v",
    "vertice",    "volt",       "w",          "watt",       "way",       "week",
    "word",       "yard",       "yd",         "year",       "yr",
});

bool IsWord(string_view word) {
  if (std::ranges::binary_search(kWords, word)) return true;
  return word.size() > 2 && word.ends_with('s') &&
         std::ranges::binary_search(kWords, word.substr(0, word.size() - 1));
}

// What joins words, "per" beside it.
std::size_t LengthOfJoint(string_view text) {
  for (const string_view joint : {"^{-1}", "^{-2}", "^2", "^3", "/", "*", "-", " ", "."}) {
    if (text.starts_with(joint)) return joint.size();
  }
  return 0;
}

}  // namespace

bool IsUnit(string_view text) {
  if (LengthOfJoint(text) > 0) return false;
  bool any = false;
  while (!text.empty()) {
    const std::size_t size =
        std::min(text.find_first_not_of("abcdefghijklmnopqrstuvwxyz"), text.size());
    const string_view word = text.substr(0, size);
    if (!word.empty() && word != "per" && !IsWord(word)) return false;
    any = any || (!word.empty() && word != "per");
    text.remove_prefix(size);
    if (text.empty()) break;
    const std::size_t joint = LengthOfJoint(text);
    if (joint == 0) return false;
    text.remove_prefix(joint);
  }
  return any;
}

}  // namespace thinkwire::router::consensus

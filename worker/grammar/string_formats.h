#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace thinkwire::worker::grammar {

// The values of a JSON Schema `format` as a regular expression over the whole value; nullopt for
// one that is not known. `date` has the days that there are, from year 1 on (RFC 3339, 5.6, and
// appendix C for leap years); `date-time` a whole second or up to nine digits of it, no leap
// seconds, `Z` or an offset; `uuid` RFC 4122's; `email` a dot-string and a host of letters, digits
// and hyphens: what RFC 5321 allows and every checker takes.
std::optional<std::string> FormatPattern(std::string_view format);

}  // namespace thinkwire::worker::grammar

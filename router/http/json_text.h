#pragma once

#include <string>
#include <string_view>

namespace thinkwire::router::http {

// `text` as a JSON string with its quotes, appended to `out`. What is not valid UTF-8 becomes
// U+FFFD.
void AppendJsonString(std::string_view text, std::string* out);

std::string JsonString(std::string_view text);

}  // namespace thinkwire::router::http

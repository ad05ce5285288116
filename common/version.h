#pragma once

#include <string>
#include <string_view>

namespace thinkwire {

// "0.1.0 (commit 0123456789ab)".
std::string Version();

// "thinkwire-chat 0.1.0 (commit 0123456789ab)", with the line's end: what --version prints.
std::string VersionLine(std::string_view program);

}  // namespace thinkwire

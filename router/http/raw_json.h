#pragma once

#include <initializer_list>
#include <string_view>

namespace thinkwire::router::http {

// The text of a member of members, as it stands in `json`: its keys in the order in which they were
// written, which a tree does not keep. Empty: there is none, or a key on the way is written with
// escapes. REQUIRES: ParseJson has passed `json`. Time: linear in it.
std::string_view RawMember(std::string_view json, std::initializer_list<std::string_view> path);

}  // namespace thinkwire::router::http

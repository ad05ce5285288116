#pragma once

#include <string>
#include <string_view>

namespace thinkwire::router::http {

// The page that people chat by: one document with its style and script in it, page.html as it was
// built. Asks this server and nobody else.
std::string_view PageHtml();

// Its Content-Security-Policy: nothing but the very style and script that it has may be used, and
// only this server be asked.
std::string PagePolicy();

}  // namespace thinkwire::router::http

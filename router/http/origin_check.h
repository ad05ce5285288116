#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "router/http/message.h"

namespace thinkwire::router::http {

// A browser that shows somebody's page can reach this server too, with whatever its user may do
// here. So a page speaks to it only if that is wanted:
// 1. A Host must be an IP address, localhost, a name under it, or one of `hosts`: a page whose own
//    name was made to mean this server's address (DNS rebinding) would name itself. "*": any.
// 2. An Origin, which a browser sends with what pages ask across sites and with every POST, must be
//    this host itself, or one of `origins`, such as "https://chat.example.org". "*": any.
// Threads: constant.
class OriginCheck {
 public:
  OriginCheck(std::vector<std::string> hosts, std::vector<std::string> origins)
      : hosts_(std::move(hosts)), origins_(std::move(origins)) {}

  // Fails: PERMISSION_DENIED that says which option lets it in.
  absl::Status Check(const Request& request) const;

  // What lets the page read the answer; empty: the request is of no other origin, or of none that
  // is wanted.
  HeaderFields CorsFields(const Request& request) const;

 private:
  bool IsWanted(std::string_view origin) const;

  const std::vector<std::string> hosts_;
  const std::vector<std::string> origins_;
};

// "a, b,c" as a list; empty entries are left out.
std::vector<std::string> ReadList(std::string_view text);

}  // namespace thinkwire::router::http

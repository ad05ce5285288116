#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/options.h"
#include "common/peer_limits.h"

namespace thinkwire::router {

// What the command line says of the HTTP door.
struct HttpOptions {
  std::string listen{};  // empty: there is none
  std::int32_t max_connections = kMaxConnections;
  std::string reasoning_field = "both";
  std::string reasoning_efforts =
      "minimal=512,low=2048,medium=8192,high=unlimited,xhigh=unlimited,max=unlimited";
  bool strict = false;
  bool page = true;
  std::string hosts{};         // with commas
  std::string cors_origins{};  // likewise
};

// Each with its name and help, after those in `all`.
void AddHttpOptions(HttpOptions& options, std::vector<Option>& all);

}  // namespace thinkwire::router

#pragma once

#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace thinkwire::bench {

// Makes the file at `path` hold `text` and a line feed. Fails: INVALID_ARGUMENT, naming the path.
inline absl::Status WriteTextFile(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::trunc);
  file << text << "\n";
  file.close();
  if (file) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("cannot write ", path));
}

}  // namespace thinkwire::bench

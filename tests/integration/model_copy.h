#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace thinkwire::integration {

// A copy of the bundled model that a test may break.
class ModelCopy {
 public:
  ModelCopy();
  ~ModelCopy();
  ModelCopy(const ModelCopy&) = delete;
  ModelCopy& operator=(const ModelCopy&) = delete;

  std::string Option() const { return "--model=" + path_.string(); }
  std::filesystem::path operator/(const char* file) const { return path_ / file; }

  // Replaces a file by `text`.
  void Write(const char* file, const std::string& text) const;

  // Changes a JSON file.
  void Change(const char* file, const std::function<void(nlohmann::json&)>& change) const;

 private:
  const std::filesystem::path path_;
};

// Runs a server that must end before it listens, in one short line that opens with `name`. Returns
// that line; its exit status is EXPECTed to be `exit`.
std::string LastWordOf(const std::string& program, const std::string& name,
                       const std::vector<std::string>& options, int exit = 78);

}  // namespace thinkwire::integration

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace thinkwire::worker::model {

// A directory of its own under the system's temporary one, removed at the end.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::string ReadFile(const std::filesystem::path& path);
void WriteFile(const std::filesystem::path& path, std::string_view bytes);

// tests/data/models/`name`, made by tests/data/make_model_parity.py.
std::filesystem::path ModelDir(const std::string& name);

// Copies every file of ModelDir(name) to `to`.
void CopyModel(const std::string& name, const std::filesystem::path& to);

// The quantization_config of compressed-tensors that says nothing but that keys and values are kept
// in FP8.
nlohmann::json Fp8KvCacheConfig();

// What float32 transformers computes from a model in ModelDir.
struct Expected {
  std::vector<std::int32_t> prompt;
  std::vector<std::int32_t> greedy;
  std::vector<float> greedy_logprobs;
  std::vector<std::pair<std::int32_t, std::vector<float>>> logits;  // by position
};
Expected ReadExpected(const std::string& name);

// A safetensors file: length, header, data.
std::string Safetensors(std::string_view header, std::string_view data);
std::string Safetensors(const nlohmann::json& header, std::string_view data);

// A file's header and data.
struct SafetensorsParts {
  nlohmann::json header;
  std::string data;
};
SafetensorsParts SplitSafetensors(const std::string& file);

}  // namespace thinkwire::worker::model

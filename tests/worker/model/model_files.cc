#include "tests/worker/model/model_files.h"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "common/check.h"

namespace thinkwire::worker::model {

TempDir::TempDir() {
  std::string name = (std::filesystem::temp_directory_path() / "thinkwire_model_XXXXXX").string();
  CHECK(::mkdtemp(name.data()) != nullptr, "no temporary directory");
  path_ = name;
}

TempDir::~TempDir() { std::filesystem::remove_all(path_); }

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  CHECK(file.is_open(), "a test's file is missing");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void WriteFile(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  CHECK(file.good(), "a test's file cannot be written");
}

std::filesystem::path ModelDir(const std::string& name) {
  return std::filesystem::path("tests/data/models") / name;
}

void CopyModel(const std::string& name, const std::filesystem::path& to) {
  for (const auto& entry : std::filesystem::directory_iterator(ModelDir(name))) {
    std::filesystem::copy_file(entry.path(), to / entry.path().filename());
  }
}

nlohmann::json Fp8KvCacheConfig() {
  return {{"quant_method", "compressed-tensors"},
          {"format", "float-quantized"},
          {"config_groups", nlohmann::json::object()},
          {"kv_cache_scheme",
           {{"num_bits", 8},
            {"type", "float"},
            {"strategy", "tensor"},
            {"dynamic", false},
            {"symmetric", true}}}};
}

Expected ReadExpected(const std::string& name) {
  const auto document = nlohmann::json::parse(ReadFile(ModelDir(name) / "expected.json"));
  Expected expected;
  document.at("prompt").get_to(expected.prompt);
  document.at("greedy").get_to(expected.greedy);
  document.at("greedy_logprobs").get_to(expected.greedy_logprobs);
  for (const auto& [position, logits] : document.at("logits").items()) {
    expected.logits.emplace_back(std::stoi(position), logits.get<std::vector<float>>());
  }
  return expected;
}

std::string Safetensors(std::string_view header, std::string_view data) {
  std::string file(8, '\0');
  const std::uint64_t length = header.size();
  std::memcpy(file.data(), &length, sizeof(length));
  return file.append(header).append(data);
}

std::string Safetensors(const nlohmann::json& header, std::string_view data) {
  return Safetensors(std::string_view(header.dump()), data);
}

SafetensorsParts SplitSafetensors(const std::string& file) {
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  return {nlohmann::json::parse(file.substr(8, length)), file.substr(8 + length)};
}

}  // namespace thinkwire::worker::model

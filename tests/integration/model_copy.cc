#include "tests/integration/model_copy.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/integration/process.h"
#include "tests/integration/worker_process.h"

namespace thinkwire::integration {

ModelCopy::ModelCopy()
    : path_(std::filesystem::path(testing::TempDir()) /
            ("thinkwire_model_" + std::to_string(getpid()))) {
  std::filesystem::remove_all(path_);
  std::filesystem::copy(kTinyModel, path_);
}

ModelCopy::~ModelCopy() { std::filesystem::remove_all(path_); }

void ModelCopy::Write(const char* file, const std::string& text) const {
  std::ofstream(path_ / file, std::ios::binary) << text;
}

void ModelCopy::Change(const char* file, const std::function<void(nlohmann::json&)>& change) const {
  nlohmann::json json = nlohmann::json::parse(std::ifstream(path_ / file));
  change(json);
  Write(file, json.dump());
}

std::string LastWordOf(const std::string& program, const std::string& name,
                       const std::vector<std::string>& options, int exit) {
  std::vector<std::string> arguments = {program};
  arguments.insert(arguments.end(), options.begin(), options.end());
  Process process(arguments);
  EXPECT_EQ(process.Wait(), exit) << process.error();
  const std::string error = process.error();
  EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 1) << error;
  EXPECT_LT(error.size(), 1100U) << error;
  EXPECT_TRUE(error.starts_with(name + ": ")) << error;
  EXPECT_EQ(process.output(), "");
  return error;
}

}  // namespace thinkwire::integration

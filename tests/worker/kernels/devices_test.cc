#include "worker/kernels/devices.h"

#include <gtest/gtest.h>

#include <string>

namespace thinkwire::worker::kernels {
namespace {

TEST(OpenDevices, OpensOneBackendARank) {
  std::string error;
  for (const char* device : {"auto", "cpu"}) {
    const auto backends = OpenDevices({.device = device, .ranks = 3, .cpu_threads = 4}, &error);
    ASSERT_EQ(backends.size(), 3U);
    EXPECT_EQ(error, "");
    EXPECT_NE(backends[0]->capabilities().name.find("2 threads"), std::string::npos);
    EXPECT_NE(backends[2]->capabilities().name.find("1 thread"), std::string::npos);
  }
}

TEST(OpenDevices, TheFirstWordOfANameSaysWhetherInputsAreRounded) {
  std::string error;
  const auto rounded = OpenDevices({.device = "cpu", .cpu_threads = 1, .fp8_inputs = true}, &error);
  const auto plain = OpenDevices({.device = "cpu", .cpu_threads = 1}, &error);
  ASSERT_FALSE(rounded.empty() || plain.empty());
  EXPECT_TRUE(rounded[0]->capabilities().name.starts_with("cpu-fp8_inputs "));
  EXPECT_TRUE(plain[0]->capabilities().name.starts_with("cpu "));
}

TEST(OpenDevices, SaysWhyThereIsNone) {
  for (const DeviceConfig& config :
       {DeviceConfig{.device = "cuda"}, DeviceConfig{.device = "tpu"}, DeviceConfig{.ranks = 0}}) {
    std::string error;
    EXPECT_TRUE(OpenDevices(config, &error).empty());
    EXPECT_NE(error, "");
  }
}

}  // namespace
}  // namespace thinkwire::worker::kernels

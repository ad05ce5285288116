#include "worker/model/step/staging.h"

#include <gtest/gtest.h>

#include "tests/fakes/async_backend.h"

namespace thinkwire::worker::model {
namespace {

constexpr std::size_t kWord = sizeof(std::int32_t);

// Sends `count` numbered words, each of which the device moves to its place of the result.
std::vector<std::int32_t> SendNumbers(kernels::AsyncBackend& backend, std::int32_t depth,
                                      std::int32_t count) {
  Staging staging(1, depth, backend);
  const auto size = static_cast<std::size_t>(count);
  const kernels::Buffer arrived = backend.Allocate(size * kWord);
  for (std::int32_t i = 0; i < count; ++i) {
    if (i == depth) backend.Release();
    *staging.Begin() = i;
    staging.Send(1);
    backend.CopyOnDevice(static_cast<std::int32_t*>(arrived.data()) + i, staging.device(), kWord);
  }
  backend.Release();
  std::vector<std::int32_t> numbers(size);
  backend.CopyToHost(numbers.data(), arrived.data(), size * kWord);
  return numbers;
}

std::vector<std::int32_t> Numbers(std::int32_t count) {
  std::vector<std::int32_t> numbers;
  for (std::int32_t i = 0; i < count; ++i) numbers.push_back(i);
  return numbers;
}

TEST(StagingTest, HoldsAsManySendsAsItIsDeepWhileTheDeviceStandsStill) {
  for (const std::int32_t depth : {1, 2, 3}) {
    kernels::AsyncBackend backend(1, false);
    backend.Hold();
    EXPECT_EQ(SendNumbers(backend, depth, depth), Numbers(depth)) << "depth " << depth;
  }
}

TEST(StagingTest, OverwritesNothingThatTheDeviceHasYetToCopy) {
  for (const std::int32_t depth : {1, 2, 3}) {
    kernels::AsyncBackend backend(1, false);
    EXPECT_EQ(SendNumbers(backend, depth, 2000), Numbers(2000)) << "depth " << depth;
  }
}

}  // namespace
}  // namespace thinkwire::worker::model

#include "worker/model/host_memory.h"

#include <gtest/gtest.h>

namespace thinkwire::worker::model {
namespace {

TEST(AvailableHostMemoryTest, IsPositive) { EXPECT_GT(AvailableHostMemory(), 0); }

}  // namespace
}  // namespace thinkwire::worker::model

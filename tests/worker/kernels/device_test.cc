#include <algorithm>
#include <cstdint>

#include "tests/worker/kernels/op_testing.h"

// What a backend does besides its ops: memory, copies, recordings, and what it says of itself.
namespace thinkwire::worker::kernels {
namespace {

class DeviceTest : public OpTest {};

TEST_P(DeviceTest, SaysWhatItIs) {
  const Capabilities& capabilities = device().capabilities();
  EXPECT_EQ(capabilities.name.rfind(GetParam().name, 0), 0U) << capabilities.name;
  EXPECT_EQ(capabilities.name.find("inexact"), std::string::npos) << capabilities.name;
  EXPECT_EQ(capabilities.activation, act());
}

TEST_P(DeviceTest, AllocatesZeroedMemoryOfAnySize) {
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{4097}, std::size_t{17} << 20}) {
    const Buffer buffer = device().Allocate(bytes);
    EXPECT_EQ(buffer.bytes(), bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0U);
    std::vector<unsigned char> data(bytes, 1);
    device().CopyToHost(data.data(), buffer.data(), bytes);
    device().Synchronize();
    EXPECT_TRUE(std::ranges::all_of(data, [](auto byte) { return byte == 0; })) << bytes;
  }
}

// From and to AllocateHost's memory, short and long, ends that are no multiple of anything.
TEST_P(DeviceTest, CopiesMoveTheirBytesAndNoOthers) {
  constexpr std::uint8_t kPoison = 0xA5;
  for (const std::size_t bytes : {3, 4, 8, 12, 16, 100, 4092, 4098, 65536, 65540, 300000}) {
    const std::size_t room = bytes + 64;
    Buffer host = device().AllocateHost(room);
    const Buffer on_device = device().Allocate(room);
    Buffer back = device().AllocateHost(room);
    auto* const sent = static_cast<std::uint8_t*>(host.data());
    auto* const got = static_cast<std::uint8_t*>(back.data());
    // Twice over the same memory: what the host wrote last is what arrives.
    for (const std::size_t round : {1, 2}) {
      for (std::size_t i = 0; i < room; ++i) sent[i] = static_cast<std::uint8_t>(i * 7 + round);
      std::fill_n(got, room, kPoison);
      device().CopyToDevice(on_device.data(), sent, bytes);
      device().CopyToHost(got, on_device.data(), bytes);
      device().Synchronize();
      EXPECT_TRUE(std::equal(sent, sent + bytes, got)) << bytes;
      EXPECT_TRUE(std::all_of(got + bytes, got + room, [](auto b) { return b == kPoison; }));
    }
    device().CopyToHost(got, on_device.data(), room);
    device().Synchronize();
    EXPECT_TRUE(std::all_of(got + bytes, got + room, [](auto b) { return b == 0; })) << bytes;
  }
}

TEST_P(DeviceTest, ARecordingRunsAgainOverTheSameMemory) {
  const auto weights = RandomBf16Floats(256 * 256, 1, 0.06F);
  const WeightSlice slice = SliceOf(weights, 256, 256);
  const auto weight = device().MakeLinear({&slice, 1}, {}, LinearLayout::kPlain);
  const DeviceFloats a = Act(device(), {1, 256}, RandomActs(act(), 256, 2));
  const DeviceFloats b = PoisonedAct(device(), {1, 256});
  device().Linear(a.tensor(), *weight, b.tensor());
  const auto once = b.Read();
  const auto replay = device().Record([&] { device().Linear(a.tensor(), *weight, b.tensor()); });
  const DeviceFloats poison = PoisonedAct(device(), {1, 256});
  for (int i = 0; i < 3; ++i) {
    device().CopyOnDevice(b.tensor().data, poison.tensor().data, b.tensor().bytes());
    replay->Run();
    const auto fence = device().MakeFence();
    fence->Record();
    fence->Wait();
    EXPECT_TRUE(SameBits(b.Read(), once));
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, DeviceTest, testing::ValuesIn(TestedDevices()), DeviceName);

}  // namespace
}  // namespace thinkwire::worker::kernels

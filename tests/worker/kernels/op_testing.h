#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "worker/kernels/backend.h"

// What the op suites share. Each is written once, over a Backend, and runs on every device that the
// binary tests: an op on another device, or a new op, needs no suite of another kind.
namespace thinkwire::worker::kernels {

// A way of computing that a device has, as "avx2_4" or a second backend on the same GPU.
struct Way {
  std::string name;
  std::unique_ptr<Backend> backend;
};

// Where an element of a token's keys or values lies.
struct KvPlace {
  std::int64_t block = 0;
  int kv_heads = 0;
  int head = 0;
  int block_tokens = 0;
  int offset = 0;  // of the token in its block
  int head_dim = 0;
  int d = 0;
  bool fp8 = false;
};

// A device that the suites run on.
struct TestedDevice {
  std::string name;  // as OpenDevices knows it
  DType activation = DType::kF32;
  bool is_own_twin = false;  // problems may be smaller: the twin is the same code
  // What the device is held to: the CPU, whose own tests hold it to double precision.
  std::unique_ptr<Backend> (*twin)() = nullptr;
  // Every way that it has; all give the same bits. One at least.
  std::vector<Way> (*ways)() = nullptr;
  // The layout of its KV blocks: an element's index in its plane.
  std::int64_t (*key_index)(const KvPlace& place) = nullptr;
  std::int64_t (*value_index)(const KvPlace& place) = nullptr;

  friend void PrintTo(const TestedDevice& device, std::ostream* out) { *out << device.name; }
};

// CMake picks the definition: tested_devices_cpu.cc, or tested_devices_cuda.cc for the binary with
// the label gpu.
std::vector<TestedDevice> TestedDevices();

std::string DeviceName(const testing::TestParamInfo<TestedDevice>& info);

// The device, or none and the reason.
std::unique_ptr<Backend> Open(const TestedDevice& device, std::string* why_none);

// Opens the device and its twin. Skips where this machine has no such device.
class OpTest : public testing::TestWithParam<TestedDevice> {
 protected:
  void SetUp() override;

  Backend& device() { return *device_; }
  Backend& twin() { return *twin_; }
  DType act() const { return GetParam().activation; }
  bool is_f32() const { return act() == DType::kF32; }

 private:
  std::unique_ptr<Backend> device_;
  std::unique_ptr<Backend> twin_;
};

enum class Op : std::uint8_t {
  kLinear,
  kLmHead,
  kSwiGlu,
  kResidualSum,
  kNorm,
  kQkv,
  kAttention,
  kLogprob
};

// What an op's result may differ by, and from what.
struct Tolerance {
  double of_magnitude;  // from double precision: of the magnitudes that the result adds up …
  double of_twin;       // from the twin: of the twin's result …
  double beside;        // … and this, from both. Of the twin's bits, not at all if both are 0

  double FromDouble(double magnitude) const { return of_magnitude * magnitude + beside; }
  double FromTwin(double twin) const { return of_twin * (twin < 0 ? -twin : twin) + beside; }
};

// The one table, by op and by the type of activations.
const Tolerance& ToleranceOf(Op op, DType activation);

// Within the tolerance from the twin.
testing::AssertionResult IsLikeTwin(Op op, DType activation, const std::vector<float>& got,
                                    const std::vector<float>& twin);
testing::AssertionResult SameBits(const std::vector<float>& got, const std::vector<float>& want);
// `few` are the first of `many`, bit for bit.
testing::AssertionResult StartsWith(const std::vector<float>& many, const std::vector<float>& few);

// A copy of values in a backend's memory. Owns: that memory. REQUIRES: the backend outlives it.
template <class T>
class DeviceArray {
 public:
  DeviceArray(Backend& backend, const std::vector<T>& values)
      : backend_(backend),
        size_(values.size()),
        buffer_(backend.Allocate(values.size() * sizeof(T))) {
    backend.CopyToDevice(buffer_.data(), values.data(), size_ * sizeof(T));
    backend.Synchronize();
  }
  T* data() const { return static_cast<T*>(buffer_.data()); }
  std::vector<T> Read() const {
    std::vector<T> values(size_);
    backend_.CopyToHost(values.data(), buffer_.data(), size_ * sizeof(T));
    backend_.Synchronize();
    return values;
  }
  Tensor tensor(DType dtype) const {
    return MakeTensor(data(), dtype, static_cast<std::int64_t>(size_));
  }

 private:
  Backend& backend_;
  std::size_t size_;
  Buffer buffer_;
};
using DeviceInts = DeviceArray<std::int32_t>;

// f32 or bf16 in a backend's memory, written from and read back as f32; or what an op writes as
// e4m3, read back as the codes' numbers. Owns: that memory.
// REQUIRES: the backend outlives it.
class DeviceFloats {
 public:
  DeviceFloats(Backend& backend, DType dtype, std::initializer_list<std::int64_t> dims,
               const std::vector<float>& values);
  // Every element is a NaN that no op computes.
  DeviceFloats(Backend& backend, DType dtype, std::initializer_list<std::int64_t> dims);

  const Tensor& tensor() const { return tensor_; }
  std::vector<float> Read() const;

 private:
  void Allocate(DType dtype, std::initializer_list<std::int64_t> dims);

  Backend& backend_;
  Buffer buffer_;
  Tensor tensor_;
};

// The same of the backend's activation type.
DeviceFloats Act(Backend& backend, std::initializer_list<std::int64_t> dims,
                 const std::vector<float>& values);
DeviceFloats PoisonedAct(Backend& backend, std::initializer_list<std::int64_t> dims);

std::vector<float> RandomFloats(std::int64_t n, std::uint32_t seed, float scale = 1.0F);
// Values that bf16 holds exactly.
std::vector<float> RandomBf16Floats(std::int64_t n, std::uint32_t seed, float scale = 1.0F);
// Values that an activation of the type holds exactly.
std::vector<float> RandomActs(DType activation, std::int64_t n, std::uint32_t seed,
                              float scale = 1.0F);
std::vector<std::uint16_t> ToBf16(const std::vector<float>& x);

// Rows [first, first + count) of `x`, `width` wide.
std::vector<float> RowsOf(const std::vector<float>& x, std::int64_t width, std::int64_t first,
                          std::int64_t count);

// The whole of x [rows, cols].
WeightSlice SliceOf(const std::vector<float>& x, std::int64_t rows, std::int64_t cols);

// A matrix of Encoding::kInt4, with scales that are f16's, and the bf16 values that it stands for.
class PackedMatrix {
 public:
  // REQUIRES: whole blocks of columns.
  PackedMatrix(std::int64_t rows, std::int64_t cols, std::uint32_t seed, float scale = 1.0F);

  WeightSlice packed() const;
  const std::vector<float>& values() const { return values_; }

 private:
  const std::int64_t rows_;
  const std::int64_t cols_;
  std::vector<char> blocks_;
  std::vector<float> values_;
};

}  // namespace thinkwire::worker::kernels

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "worker/kernels/weights.h"

namespace thinkwire::worker::model {

// The bytes of a tensor and how they store it.
struct TensorBytes {
  std::span<const std::byte> bytes;
  kernels::Encoding encoding = kernels::Encoding::kBf16;
};

// What reading every byte once tells.
struct TensorContent {
  bool finite = true;      // no element, or no scale of a packed one, is a NaN or an infinity
  std::uint64_t hash = 0;  // of the bytes
};

// Reads the tensors at memory speed, on as many threads as there are cores, and calls `after_each`
// with the bytes of one that has been read. Element i tells of tensor i.
std::vector<TensorContent> ReadContents(
    std::span<const TensorBytes> tensors,
    const std::function<void(std::span<const std::byte>)>& after_each);

}  // namespace thinkwire::worker::model

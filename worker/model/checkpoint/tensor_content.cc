#include "worker/model/checkpoint/tensor_content.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <functional>
#include <numeric>
#include <thread>

#include "worker/model/checkpoint/hash.h"

namespace thinkwire::worker::model {
namespace {

using kernels::Encoding;

// The exponent's bits in each element of 8 bytes, and one in each exponent's lowest place: adding
// the two carries into the sign's place exactly where the exponent is all ones (NaN, infinity).
struct ExponentMask {
  std::uint64_t exponent;
  std::uint64_t one;
  std::uint64_t sign;
};

ExponentMask MaskOf(Encoding encoding) {
  switch (encoding) {
    case Encoding::kBf16:
      return {0x7f807f807f807f80ULL, 0x0080008000800080ULL, 0x8000800080008000ULL};
    case Encoding::kF16:
      return {0x7c007c007c007c00ULL, 0x0400040004000400ULL, 0x8000800080008000ULL};
    case Encoding::kF32:
      return {0x7f8000007f800000ULL, 0x0080000000800000ULL, 0x8000000080000000ULL};
    case Encoding::kFp8:  // e4m3 has no infinity
      return {0x7f7f7f7f7f7f7f7fULL, 0x0101010101010101ULL, 0x8080808080808080ULL};
    default:
      return {0, 0, 0};  // its bytes are no numbers by themselves
  }
}

// Where a block keeps its f16 scales.
std::vector<std::size_t> PlacesOfScales(Encoding encoding) {
  switch (encoding) {
    case Encoding::kBf16:
    case Encoding::kF16:
    case Encoding::kF32:
    case Encoding::kInt4:  // in no file: made from tensors that are read by themselves
    case Encoding::kFp8:
      return {};
    case Encoding::kQ4_1:
    case Encoding::kQ5_1:
    case Encoding::kQ4K:
    case Encoding::kQ5K:
      return {0, 2};
    case Encoding::kQ2K:
      return {80, 82};
    case Encoding::kQ3K:
      return {108};
    case Encoding::kQ6K:
      return {208};
    default:
      return {0};
  }
}

bool HasFiniteScales(std::span<const std::byte> bytes, Encoding encoding) {
  constexpr std::uint16_t kExponent = 0x7c00;
  const auto block = static_cast<std::size_t>(kernels::BlockOf(encoding).bytes);
  for (const std::size_t place : PlacesOfScales(encoding)) {
    for (std::size_t at = place; at < bytes.size(); at += block) {
      std::uint16_t half;
      std::memcpy(&half, bytes.data() + at, sizeof(half));
      if ((half & kExponent) == kExponent) return false;
    }
  }
  return true;
}

// One pass at memory speed: four independent chains hide the multiply's latency.
TensorContent ReadContent(std::span<const std::byte> bytes, Encoding encoding) {
  const ExponentMask mask = MaskOf(encoding);
  std::array<std::uint64_t, 4> lanes = {1, 2, 3, 4};
  std::uint64_t bad = 0;
  const auto take = [&](std::uint64_t word, std::uint64_t& lane) {
    bad |= (word & mask.exponent) + mask.one;
    lane = std::rotl((lane ^ word) * 0x9fb21c651e98df25ULL, 29);
  };
  std::size_t at = 0;
  for (; at + 32 <= bytes.size(); at += 32) {
    std::array<std::uint64_t, 4> words;
    std::memcpy(words.data(), bytes.data() + at, 32);
    for (std::size_t i = 0; i < 4; ++i) take(words[i], lanes[i]);
  }
  for (; at < bytes.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, std::min<std::size_t>(8, bytes.size() - at));
    take(word, lanes[0]);
  }
  TensorContent content;
  content.finite = (bad & mask.sign) == 0 && HasFiniteScales(bytes, encoding);
  content.hash = bytes.size();
  for (const std::uint64_t lane : lanes) content.hash = HashWord(content.hash, lane);
  return content;
}

// Calls body(i) once for each i below `count`, on as many threads as there are cores: one does not
// read a disk or a page cache as fast as it goes.
void ForEachInParallel(std::size_t count, const std::function<void(std::size_t)>& body) {
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < count; i = next++) body(i);
  };
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < std::thread::hardware_concurrency(); ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
}

// So that no thread begins a large one, such as a head, when the others are done.
std::vector<std::size_t> LargestFirst(std::span<const TensorBytes> tensors) {
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return tensors[a].bytes.size() > tensors[b].bytes.size();
  });
  return order;
}

}  // namespace

std::vector<TensorContent> ReadContents(
    std::span<const TensorBytes> tensors,
    const std::function<void(std::span<const std::byte>)>& after_each) {
  std::vector<TensorContent> contents(tensors.size());
  const std::vector<std::size_t> order = LargestFirst(tensors);
  ForEachInParallel(tensors.size(), [&](std::size_t at) {
    const std::size_t i = order[at];
    contents[i] = ReadContent(tensors[i].bytes, tensors[i].encoding);
    after_each(tensors[i].bytes);
  });
  return contents;
}

}  // namespace thinkwire::worker::model

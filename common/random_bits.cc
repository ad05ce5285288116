#include "common/random_bits.h"

#include <unistd.h>

#include "common/check.h"

namespace thinkwire {

std::uint64_t RandomBits() {
  std::uint64_t bits = 0;
  CHECK(getentropy(&bits, sizeof(bits)) == 0, "the kernel has random bits for whoever asks");
  return bits;
}

}  // namespace thinkwire

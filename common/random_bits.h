#pragma once

#include <cstdint>

namespace thinkwire {

// 64 bits that nobody has had or can guess, from the kernel, in less than a microsecond. (A
// std::random_device asks the processor what it can, each time that one is made; on a virtual
// machine that takes some 30 of them.) Threads: any.
std::uint64_t RandomBits();

}  // namespace thinkwire

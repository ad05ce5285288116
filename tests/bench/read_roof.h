#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace thinkwire::bench {

// What plain reading of memory reaches on this machine: each of `threads` threads adds up its own
// share of a buffer in huge pages, with wide loads, in the order of addresses.
class ReadRoof {
 public:
  ReadRoof(std::size_t bytes, int threads);

  // Reads the buffer once; bytes a second.
  double Measure();

 private:
  struct Free {
    void operator()(std::uint64_t* words) const;
  };

  const std::size_t size_;  // words
  const std::unique_ptr<std::uint64_t[], Free> words_;
  const std::size_t threads_;
  std::uint64_t total_ = 0;  // so that no compiler leaves the reading out
};

}  // namespace thinkwire::bench

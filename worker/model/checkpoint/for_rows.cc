#include "worker/model/checkpoint/for_rows.h"

#include <algorithm>
#include <thread>
#include <vector>

namespace thinkwire::worker::model {

void ForRows(std::int64_t rows, std::int64_t elements,
             const std::function<void(std::int64_t, std::int64_t)>& body) {
  constexpr std::int64_t kAloneElements = 1 << 18;
  const std::int64_t cores = std::max(1U, std::thread::hardware_concurrency());
  const std::int64_t share = elements < kAloneElements ? rows : (rows + cores - 1) / cores;
  std::vector<std::thread> others;
  for (std::int64_t row = share; row < rows; row += share) {
    others.emplace_back(body, row, std::min(row + share, rows));
  }
  body(0, std::min(share, rows));
  for (std::thread& thread : others) thread.join();
}

}  // namespace thinkwire::worker::model

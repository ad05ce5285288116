#pragma once

#include <cstdint>
#include <functional>

namespace thinkwire::worker::model {

// Calls body(first, end) for pieces that make up [0, rows), each once, on as many threads as there
// are cores; on this one alone for a matrix of few elements. Returns when all are done.
void ForRows(std::int64_t rows, std::int64_t elements,
             const std::function<void(std::int64_t, std::int64_t)>& body);

}  // namespace thinkwire::worker::model

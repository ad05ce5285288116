#pragma once

#include <cstddef>
#include <cstdint>

namespace thinkwire::worker::kernels {

// What decode leaves between its blocks: partial results of segments, and for each sequence and KV
// head how many are there (decode_merge.cuh). One a stream, used by every layer in turn. A view:
// the memory is its backend's.
struct AttentionWorkspace {
  float* partials = nullptr;          // [partial_rows, 2] max and sum, then [partial_rows, D]
  std::uint32_t* counters = nullptr;  // [max_seqs, K], zero between launches
  std::int64_t partial_rows = 0;      // query rows times segments times KV heads that fit
  std::int32_t max_seqs = 0;          // S at most
  std::int32_t prefill_kv_tiles = 0;  // tiles of 32 KB that a prefill block keeps in shared memory
  bool prefill_by_wgmma = false;      // the device can
};

}  // namespace thinkwire::worker::kernels

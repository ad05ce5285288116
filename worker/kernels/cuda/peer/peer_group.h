#pragma once

#include <vector_types.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "worker/kernels/backend.h"

namespace thinkwire::worker::kernels {

inline constexpr int kMaxPeers = 8;
inline constexpr std::int64_t kMaxPeerWidth = 8192;

// What one rank's kernels know of a group of GPUs that write to each other's memory: each rank has
// an inbox with two sides. Lines in an inbox: [2 sides, R sources, max_rows, 2 halves, pieces].
// A line carries 8 bytes of a 16-byte piece and, twice, the epoch in which it was written.
struct PeerView {
  int rank = 0;
  int ranks = 0;
  int max_rows = 0;
  int pieces = 0;               // 16-byte pieces a row
  uint4* inboxes[kMaxPeers]{};  // of all ranks
  // [max_rows] how often each row was exchanged; this rank's own. The count modulo 2 is the side.
  std::uint32_t* epochs = nullptr;
};

// One rank's part of a group. Owns its inbox.
struct PeerMember {
  PeerView view;
  Buffer inbox;
  Buffer epochs;
};

// Lets the backends' GPUs write to each other's inboxes, by plain peer access over NVLink or PCIe.
// Empty where not every GPU can, and for more than kMaxPeers or wider rows than kMaxPeerWidth. Rows
// are bf16 [width].
// REQUIRES: width a multiple of 8. Allocate gives memory of cudaMalloc.
std::vector<PeerMember> OpenPeerGroup(std::span<const std::unique_ptr<Backend>> backends,
                                      int max_rows, std::int64_t width);

}  // namespace thinkwire::worker::kernels

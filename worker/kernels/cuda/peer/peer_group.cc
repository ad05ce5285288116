#include "worker/kernels/cuda/peer/peer_group.h"

#include <cuda_runtime_api.h>

#include <cstddef>
#include <utility>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/cuda_check.h"

namespace thinkwire::worker::kernels {
namespace {

int DeviceOf(Backend& backend) {
  int device = 0;
  CUDA_CHECK(cudaStreamGetDevice(static_cast<cudaStream_t>(backend.ShareStream()), &device));
  return device;
}

bool AllReachEachOther(const std::vector<int>& devices) {
  for (const int from : devices) {
    for (const int to : devices) {
      int can = 1;
      if (from != to) CUDA_CHECK(cudaDeviceCanAccessPeer(&can, from, to));
      if (can == 0) return false;
    }
  }
  return true;
}

void EnableAccess(const std::vector<int>& devices) {
  int previous = 0;
  CUDA_CHECK(cudaGetDevice(&previous));
  for (const int from : devices) {
    CUDA_CHECK(cudaSetDevice(from));
    for (const int to : devices) {
      if (from == to) continue;
      const cudaError_t error = cudaDeviceEnablePeerAccess(to, 0);
      if (error == cudaErrorPeerAccessAlreadyEnabled) {
        cudaGetLastError();  // no error to us: forget it
      } else {
        CUDA_CHECK(error);
      }
    }
  }
  CUDA_CHECK(cudaSetDevice(previous));
}

}  // namespace

std::vector<PeerMember> OpenPeerGroup(std::span<const std::unique_ptr<Backend>> backends,
                                      int max_rows, std::int64_t width) {
  Check(width % 8 == 0, "rows are whole 16-byte pieces");
  std::vector<PeerMember> members;
  std::vector<int> devices;
  for (const auto& backend : backends) devices.push_back(DeviceOf(*backend));
  if (backends.size() > kMaxPeers || width > kMaxPeerWidth || !AllReachEachOther(devices)) {
    return members;
  }
  EnableAccess(devices);
  const std::size_t ranks = backends.size();
  const std::size_t rows = static_cast<std::size_t>(max_rows);
  const std::size_t pieces = static_cast<std::size_t>(width / 8);
  PeerView view{
      .ranks = static_cast<int>(ranks), .max_rows = max_rows, .pieces = static_cast<int>(pieces)};
  for (std::size_t r = 0; r < ranks; ++r) {
    PeerMember member;
    member.inbox = backends[r]->Allocate(2 * ranks * rows * 2 * pieces * sizeof(uint4));
    member.epochs = backends[r]->Allocate(rows * sizeof(std::uint32_t));
    backends[r]->Synchronize();
    view.inboxes[r] = static_cast<uint4*>(member.inbox.data());
    members.push_back(std::move(member));
  }
  for (std::size_t r = 0; r < ranks; ++r) {
    view.rank = static_cast<int>(r);
    view.epochs = static_cast<std::uint32_t*>(members[r].epochs.data());
    members[r].view = view;
  }
  return members;
}

}  // namespace thinkwire::worker::kernels

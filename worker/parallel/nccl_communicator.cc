#include "worker/parallel/nccl_communicator.h"

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <future>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "worker/kernels/cuda/device/cuda_check.h"
#include "worker/kernels/cuda/peer/peer_add_rms_norm.h"
#include "worker/kernels/cuda/peer/peer_group.h"
#include "worker/kernels/cuda/peer/sum_ranks.h"
#include "worker/kernels/end_process.h"

namespace thinkwire::worker::parallel {
namespace {

using kernels::DType;
using kernels::Tensor;

constexpr std::int64_t kBf16Bytes = 2;
// More than two ranks: up to here each gathers the others' whole tensors in one step; beyond, each
// adds up its share of the elements and then gathers the others' sums, which moves 2 / R as much.
constexpr std::int64_t kMaxGatheredElements = 128 * 1024;
// Rows that are exchanged through peer memory, over all peers: above, NCCL moves fewer bytes.
constexpr std::int64_t kMaxPeerRows = 128;
constexpr std::chrono::seconds kConnectTimeout{60};

[[noreturn]] void EndOnNcclError(ncclResult_t error, const char* call, const char* file, int line) {
  kernels::EndProcess("%s:%d: NCCL error: %s: %s (%s)", file, line, call, ncclGetErrorString(error),
                      ncclGetLastError(nullptr));
}

// As CUDA_CHECK ends, for a device that need not be the calling thread's.
[[noreturn]] void EndOnDeviceError(cudaError_t error, int device) {
  kernels::EndProcess("%s:%d: CUDA error on device %d, seen from beside its rank: %s", __FILE__,
                      __LINE__, device, cudaGetErrorString(error));
}

#define NCCL_CHECK(call)                                           \
  do {                                                             \
    const ncclResult_t nccl_check_error = (call);                  \
    if (nccl_check_error != ncclSuccess) [[unlikely]]              \
      EndOnNcclError(nccl_check_error, #call, __FILE__, __LINE__); \
  } while (false)

// Makes the stream's device the calling thread's current one while in scope.
class OnDeviceOf {
 public:
  explicit OnDeviceOf(cudaStream_t stream) {
    int device = 0;
    CUDA_CHECK(cudaGetDevice(&previous_));
    CUDA_CHECK(cudaStreamGetDevice(stream, &device));
    CUDA_CHECK(cudaSetDevice(device));
  }
  ~OnDeviceOf() { CUDA_CHECK(cudaSetDevice(previous_)); }
  OnDeviceOf(const OnDeviceOf&) = delete;
  OnDeviceOf& operator=(const OnDeviceOf&) = delete;

 private:
  int previous_ = 0;
};

// Blocking in NCCL's sense: a call returns once its work is in the stream, on the caller's thread.
// With ncclConfig_t::blocking = 0 every collective starts a thread of its own (group.cc).
class NcclCommunicator final : public Communicator {
 public:
  // Takes `comm`. `peers` is empty where the GPUs cannot reach each other's memory.
  NcclCommunicator(ncclComm_t comm, int rank, int size, cudaStream_t stream,
                   kernels::Buffer workspace, kernels::PeerMember peers)
      : comm_(comm),
        rank_(rank),
        size_(size),
        stream_(stream),
        workspace_(std::move(workspace)),
        peers_(std::move(peers)) {
    const OnDeviceOf on_device(stream);
    CUDA_CHECK(cudaStreamGetDevice(stream, &device_));
    CUDA_CHECK(cudaStreamCreateWithFlags(&probe_stream_, cudaStreamNonBlocking));
    CUDA_CHECK(cudaEventCreateWithFlags(&probe_event_, cudaEventDisableTiming));
  }
  ~NcclCommunicator() override {
    NCCL_CHECK(ncclCommDestroy(comm_));
    CUDA_CHECK(cudaEventDestroy(probe_event_));
    CUDA_CHECK(cudaStreamDestroy(probe_stream_));
  }
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void AllReduce(const Tensor& x) override {
    CHECK(x.dtype == DType::kBf16, "GPU ranks reduce bf16");
    const auto n = static_cast<std::size_t>(x.size());
    if (n == 0) return;
    if (size_ == 2) {
      NCCL_CHECK(ncclAllReduce(x.data, x.data, n, ncclBfloat16, ncclSum, comm_, stream_));
    } else if (x.size() <= kMaxGatheredElements) {
      CheckWorkspace(x.bytes() * static_cast<std::size_t>(size_));
      NCCL_CHECK(ncclAllGather(x.data, workspace_.data(), n, ncclBfloat16, comm_, stream_));
      kernels::SumRanks(workspace_.data(), size_, x.size(), x.data, stream_);
    } else {
      SumShares(x);
    }
  }

  void AllGatherColumns(const Tensor& local, const Tensor& out) override {
    CHECK(local.rank == 2 && out.rank == 2 && local.dim(0) == out.dim(0) &&
              local.dim(1) * size_ == out.dim(1) && local.dtype == DType::kF32 &&
              out.dtype == DType::kF32,
          "local is f32 [L, V / R], out is f32 [L, V]");
    const auto n = static_cast<std::size_t>(local.size());
    if (n == 0) return;
    if (local.dim(0) == 1) {
      NCCL_CHECK(ncclAllGather(local.data, out.data, n, ncclFloat32, comm_, stream_));
      return;
    }
    CheckWorkspace(out.bytes());
    NCCL_CHECK(ncclAllGather(local.data, workspace_.data(), n, ncclFloat32, comm_, stream_));
    kernels::JoinColumns(static_cast<const float*>(workspace_.data()), size_, local.dim(0),
                         local.dim(1), out.as<float>(), stream_);
  }

  // Few rows: through peer memory, the same bits as the two in a row.
  void AllReduceAddRmsNorm(kernels::Backend& backend, const kernels::ResidualNorm& norm) override {
    if (norm.partial.dim(0) > peers_.view.max_rows) {
      return Communicator::AllReduceAddRmsNorm(backend, norm);
    }
    kernels::LaunchPeerAddRmsNorm(peers_.view, norm, stream_);
  }

  // A lost context fails whatever is given to it, so also an event beside the stuck stream. NCCL
  // reports the network's errors, and not that a peer is stuck.
  void Check() override {
    cudaError_t status = cudaEventRecord(probe_event_, probe_stream_);
    if (status == cudaSuccess) status = cudaEventQuery(probe_event_);
    if (status != cudaSuccess && status != cudaErrorNotReady) EndOnDeviceError(status, device_);
    ncclResult_t error = ncclSuccess;
    NCCL_CHECK(ncclCommGetAsyncError(comm_, &error));
    NCCL_CHECK(error);
  }

 private:
  // Rank r adds up the r-th share of the elements, then all gather the sums.
  void SumShares(const Tensor& x) {
    CHECK(x.size() % (std::int64_t{8} * size_) == 0, "E is a multiple of 8 R");
    CheckWorkspace(x.bytes());
    const std::int64_t share = x.size() / size_;
    const auto n = static_cast<std::size_t>(share);
    std::uint16_t* const sums = x.as<std::uint16_t>() + rank_ * share;
    NCCL_CHECK(ncclAlltoAll(x.data, workspace_.data(), n, ncclBfloat16, comm_, stream_));
    kernels::SumRanks(workspace_.data(), size_, share, sums, stream_);
    NCCL_CHECK(ncclAllGather(sums, x.data, n, ncclBfloat16, comm_, stream_));
  }

  void CheckWorkspace(std::size_t bytes) const {
    CHECK(bytes <= workspace_.bytes(), "a tensor is larger than CommunicatorLimits said");
  }

  const ncclComm_t comm_;
  const int rank_;
  const int size_;
  const cudaStream_t stream_;
  const kernels::Buffer workspace_;
  const kernels::PeerMember peers_;
  int device_ = 0;
  cudaStream_t probe_stream_ = nullptr;  // Check's alone
  cudaEvent_t probe_event_ = nullptr;
};

std::size_t WorkspaceBytes(const CommunicatorLimits& limits, int ranks) {
  constexpr std::int64_t kFloatBytes = sizeof(float);
  const std::int64_t gathered_logits = limits.max_rows * limits.vocab * kFloatBytes;
  const std::int64_t largest = limits.max_tokens * limits.hidden;
  const std::int64_t gathered = std::min(largest, kMaxGatheredElements) * ranks;
  const std::int64_t summed = ranks == 2 ? 0 : std::max(largest, gathered) * kBf16Bytes;
  const std::int64_t connecting = 2 * ranks * kFloatBytes;
  return static_cast<std::size_t>(std::max({gathered_logits, summed, connecting}));
}

// What one thread does for this process's ranks while the group's come together.
class Connector {
 public:
  // REQUIRES: streams of different devices, workspaces of 2 `size` floats or more.
  Connector(const CommunicatorId& id, int first_rank, int size, std::vector<cudaStream_t> streams,
            std::vector<void*> workspaces)
      : first_rank_(first_rank),
        size_(size),
        streams_(std::move(streams)),
        workspaces_(std::move(workspaces)),
        comms_(streams_.size(), nullptr) {
    static_assert(sizeof(id_) == sizeof(id.bytes), "NCCL's ids fit");
    std::memcpy(&id_, id.bytes.data(), sizeof(id_));
  }

  const std::vector<ncclComm_t>& comms() const { return comms_; }

  // Makes the communicators and calls what they will be called for, so that nothing is left to
  // connect, load or allocate later.
  ncclResult_t Connect() {
    const ncclResult_t result = InitRanks();
    if (result != ncclSuccess) return result;
    ForAllRanks([](void* from, void* to, ncclComm_t comm, cudaStream_t stream) {
      return ncclAllReduce(from, to, 1, ncclBfloat16, ncclSum, comm, stream);
    });
    ForAllRanks([](void* from, void* to, ncclComm_t comm, cudaStream_t stream) {
      return ncclAllGather(from, to, 1, ncclFloat32, comm, stream);
    });
    ForAllRanks([](void* from, void* to, ncclComm_t comm, cudaStream_t stream) {
      return ncclAlltoAll(from, to, 1, ncclFloat32, comm, stream);
    });
    for (const cudaStream_t stream : streams_) CUDA_CHECK(cudaStreamSynchronize(stream));
    return ncclSuccess;
  }

 private:
  // A rank's call waits for those of all others, so one thread makes them within one group.
  ncclResult_t InitRanks() {
    NCCL_CHECK(ncclGroupStart());
    ncclResult_t result = ncclSuccess;
    for (std::size_t r = 0; r < comms_.size() && result == ncclSuccess; ++r) {
      const OnDeviceOf on_device(streams_[r]);
      result = ncclCommInitRank(&comms_[r], size_, id_, first_rank_ + static_cast<int>(r));
    }
    const ncclResult_t ended = ncclGroupEnd();
    return result == ncclSuccess ? ended : result;
  }

  template <class Collective>
  void ForAllRanks(const Collective& collective) {
    NCCL_CHECK(ncclGroupStart());
    for (std::size_t r = 0; r < comms_.size(); ++r) {
      auto* const from = static_cast<float*>(workspaces_[r]);
      NCCL_CHECK(collective(from, from + size_, comms_[r], streams_[r]));
    }
    NCCL_CHECK(ncclGroupEnd());
  }

  ncclUniqueId id_;
  const int first_rank_;
  const int size_;
  const std::vector<cudaStream_t> streams_;
  const std::vector<void*> workspaces_;
  std::vector<ncclComm_t> comms_;
};

// NCCL waits for GPUs without end, in calls that cannot be cancelled.
ncclResult_t ConnectInTime(Connector& connector) {
  std::promise<ncclResult_t> promise;
  std::future<ncclResult_t> result = promise.get_future();
  std::thread thread([&] { promise.set_value(connector.Connect()); });
  if (result.wait_for(kConnectTimeout) != std::future_status::ready) {
    kernels::EndProcess("NCCL did not connect %zu GPUs within %lld s", connector.comms().size(),
                        static_cast<long long>(kConnectTimeout.count()));
  }
  thread.join();
  return result.get();
}

// Settings that NCCL takes from the environment alone; one that is set already stays.
void ChooseNcclSettings() {
  // NVLink multicast needs the fabric's state, which virtual machines and containers often lack
  // though the driver offers it: NCCL then fails or hangs. It gains little below eight GPUs.
  setenv("NCCL_NVLS_ENABLE", "0", /*overwrite=*/0);
  // Connect all algorithms at once: later it would allocate, perhaps within a recording.
  setenv("NCCL_RUNTIME_CONNECT", "0", /*overwrite=*/0);
}

absl::Status NcclError(const std::string& what, ncclResult_t result) {
  return absl::InternalError(absl::StrCat("NCCL cannot ", what, ": ", ncclGetErrorString(result),
                                          " (", ncclGetLastError(nullptr), ")"));
}

// Peer memory of each rank; empty members where not all of the group's GPUs are of this process,
// or reach each other's memory.
std::vector<kernels::PeerMember> OpenPeers(
    int size, std::span<const std::unique_ptr<kernels::Backend>> backends,
    const CommunicatorLimits& limits) {
  std::vector<kernels::PeerMember> peers;
  if (backends.size() == static_cast<std::size_t>(size)) {
    const std::int64_t rows = std::min(limits.max_tokens, kMaxPeerRows / (size - 1));
    peers = kernels::OpenPeerGroup(backends, static_cast<int>(rows), limits.hidden);
  }
  peers.resize(backends.size());
  return peers;
}

}  // namespace

absl::StatusOr<CommunicatorId> MakeNcclId() {
  ChooseNcclSettings();
  ncclUniqueId made;
  const ncclResult_t result = ncclGetUniqueId(&made);
  if (result != ncclSuccess) return NcclError("name a group of GPUs", result);
  CommunicatorId id;
  std::memcpy(id.bytes.data(), &made, sizeof(made));
  return id;
}

absl::StatusOr<std::vector<std::unique_ptr<Communicator>>> OpenNcclCommunicators(
    const CommunicatorId& id, int first_rank, int size,
    std::span<const std::unique_ptr<kernels::Backend>> backends, const CommunicatorLimits& limits) {
  CHECK(size >= 2, "one rank needs no NCCL");
  if (size > 2 && limits.hidden % (8 * size) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("hidden size ", limits.hidden, " is not a multiple of 8 x ", size, " GPUs"));
  }
  ChooseNcclSettings();
  const std::size_t workspace_bytes = WorkspaceBytes(limits, size);
  std::vector<kernels::Buffer> workspaces;
  std::vector<cudaStream_t> streams;
  std::vector<void*> pointers;
  for (const auto& backend : backends) {
    workspaces.push_back(backend->Allocate(workspace_bytes));
    pointers.push_back(workspaces.back().data());
    streams.push_back(static_cast<cudaStream_t>(backend->ShareStream()));
    backend->Synchronize();
  }
  Connector connector(id, first_rank, size, streams, std::move(pointers));
  const ncclResult_t result = ConnectInTime(connector);
  if (result != ncclSuccess) return NcclError(absl::StrCat("connect ", size, " GPUs"), result);
  std::vector<kernels::PeerMember> peers = OpenPeers(size, backends, limits);
  std::vector<std::unique_ptr<Communicator>> communicators;
  for (std::size_t i = 0; i < backends.size(); ++i) {
    communicators.push_back(std::make_unique<NcclCommunicator>(
        connector.comms()[i], first_rank + static_cast<int>(i), size, streams[i],
        std::move(workspaces[i]), std::move(peers[i])));
  }
  return communicators;
}

}  // namespace thinkwire::worker::parallel

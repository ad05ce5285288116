#pragma once

#include <barrier>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/status.h"
#include "worker/kernels/devices.h"
#include "worker/parallel/communicators.h"

namespace thinkwire::worker::parallel {

// GPUs with a communicator each, as far as this machine has them.
class GpuRanks {
 public:
  struct Rank {
    kernels::Backend& backend;
    Communicator& communicator;
    // Waits for all ranks of one Run. Between memory that is taken or given back and work that
    // waits for another rank: the driver may hold the one up until the other is done.
    std::function<void()> meet;
  };

  // Leaves no ranks, and `why_none` says why, if there are fewer GPUs.
  GpuRanks(int size, const CommunicatorLimits& limits) {
    backends_ = kernels::OpenDevices({.device = "cuda", .ranks = size}, &why_none_);
    if (backends_.empty()) return;
    auto communicators = Open(limits);
    if (!communicators.ok()) {
      why_none_ = std::string(communicators.status().message());
    } else {
      communicators_ = *std::move(communicators);
    }
  }

  const std::string& why_none() const { return why_none_; }
  int size() const { return static_cast<int>(communicators_.size()); }
  const std::vector<std::unique_ptr<Communicator>>& communicators() const { return communicators_; }

  // Runs body on one thread a rank.
  void Run(const std::function<void(const Rank&)>& body) const {
    std::barrier all(size());
    std::vector<std::thread> threads;
    for (int r = 0; r < size(); ++r) {
      threads.emplace_back([this, r, &body, &all] {
        const auto index = static_cast<std::size_t>(r);
        body({*backends_[index], *communicators_[index], [&all] { all.arrive_and_wait(); }});
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

 private:
  absl::StatusOr<std::vector<std::unique_ptr<Communicator>>> Open(
      const CommunicatorLimits& limits) const {
    const int size = static_cast<int>(backends_.size());
    ASSIGN_OR_RETURN(const CommunicatorId id, MakeCommunicatorId(*backends_.front(), size));
    return OpenCommunicators(id, 0, size, backends_, limits);
  }

  std::string why_none_;
  std::vector<std::unique_ptr<kernels::Backend>> backends_;
  std::vector<std::unique_ptr<Communicator>> communicators_;
};

// Device memory of one rank that is written and read as a vector. T is 2 or 4 bytes.
template <class T>
class DeviceArray {
 public:
  DeviceArray(kernels::Backend& backend, kernels::DType dtype, std::int64_t rows,
              std::int64_t columns)
      : backend_(backend),
        buffer_(backend.Allocate(static_cast<std::size_t>(rows * columns) * sizeof(T))),
        tensor_(kernels::MakeTensor(buffer_.data(), dtype, rows, columns)) {}
  DeviceArray(kernels::Backend& backend, kernels::DType dtype, std::int64_t rows,
              std::int64_t columns, const std::vector<T>& values)
      : DeviceArray(backend, dtype, rows, columns) {
    Write(values);
  }

  const kernels::Tensor& tensor() const { return tensor_; }
  // From here on only the first rows are seen. REQUIRES: no more than at first.
  void SetRows(std::int64_t rows) { tensor_.dims[0] = rows; }
  void Write(const std::vector<T>& values) {
    backend_.CopyToDevice(buffer_.data(), values.data(), tensor_.bytes());
  }
  std::vector<T> Read() const {
    std::vector<T> values(static_cast<std::size_t>(tensor_.size()));
    backend_.CopyToHost(values.data(), buffer_.data(), tensor_.bytes());
    backend_.Synchronize();
    return values;
  }

 private:
  kernels::Backend& backend_;
  kernels::Buffer buffer_;
  kernels::Tensor tensor_;
};

}  // namespace thinkwire::worker::parallel

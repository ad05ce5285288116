#include "worker/parallel/local_communicator.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "worker/kernels/add_pairwise.h"

namespace thinkwire::worker::parallel {
namespace {

// Ranks arrive within microseconds of each other unless the machine is full: then they sleep.
constexpr int kSpins = 1000;

}  // namespace

LocalGroup::LocalGroup(int size) : data_(static_cast<std::size_t>(size)) {
  CHECK(size >= 1, "a group has at least one rank");
}

void LocalGroup::Arrive() {
  const std::uint32_t round = round_.load(std::memory_order_acquire);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size()) {
    arrived_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
    round_.notify_all();
    return;
  }
  for (int spin = 0; spin < kSpins; ++spin) {
    if (round_.load(std::memory_order_acquire) != round) return;
    if (spin % 64 == 63) std::this_thread::yield();
  }
  while (round_.load(std::memory_order_acquire) == round) {
    round_.wait(round, std::memory_order_acquire);
  }
}

LocalCommunicator::LocalCommunicator(std::shared_ptr<LocalGroup> group, int rank)
    : group_(std::move(group)), rank_(rank) {
  CHECK(rank >= 0 && rank < group_->size(), "a rank is below its group's size");
}

void LocalCommunicator::AllReduce(const kernels::Tensor& x) {
  if (size() == 1) return;
  CHECK(x.dtype == kernels::DType::kF32, "local ranks reduce f32");
  group_->data(rank_) = x.as<float>();
  group_->Arrive();
  const std::int64_t begin = x.size() * rank_ / size();
  const std::int64_t end = x.size() * (rank_ + 1) / size();
  std::vector<float*> sums(kernels::SumsOfPairs(static_cast<std::size_t>(size())));
  kernels::AddPairwise(
      static_cast<std::size_t>(size()),
      [&](std::size_t rank, std::size_t at) { sums[at] = group_->data(static_cast<int>(rank)); },
      [&](std::size_t to, std::size_t from) {
        for (std::int64_t i = begin; i < end; ++i) sums[to][i] += sums[from][i];
      });
  const float* const whole = group_->data(0);
  for (int r = 1; r < size(); ++r) std::copy(whole + begin, whole + end, group_->data(r) + begin);
  group_->Arrive();
}

void LocalCommunicator::AllGatherColumns(const kernels::Tensor& local, const kernels::Tensor& out) {
  CHECK(local.rank == 2 && out.rank == 2 && local.dim(0) == out.dim(0) &&
            local.dim(1) * size() == out.dim(1) && local.dtype == kernels::DType::kF32 &&
            out.dtype == kernels::DType::kF32,
        "local is f32 [L, V / R], out is f32 [L, V]");
  const std::int64_t width = local.dim(1);
  group_->data(rank_) = local.as<float>();
  group_->Arrive();
  for (std::int64_t l = 0; l < local.dim(0); ++l) {
    for (int r = 0; r < size(); ++r) {
      std::memcpy(out.as<float>() + (l * size() + r) * width, group_->data(r) + l * width,
                  static_cast<std::size_t>(width) * sizeof(float));
    }
  }
  group_->Arrive();
}

absl::StatusOr<std::vector<std::unique_ptr<Communicator>>> OpenLocalCommunicators(
    const std::shared_ptr<LocalGroup>& group, int first_rank, int size, int count) {
  if (group == nullptr) return absl::InvalidArgumentError("CPU ranks are threads of one process");
  if (group->size() != size || first_rank < 0 || first_rank + count > size) {
    return absl::InvalidArgumentError(absl::StrCat("ranks ", first_rank, " to ",
                                                   first_rank + count - 1, " of ", size,
                                                   " are not in a group of ", group->size()));
  }
  std::vector<std::unique_ptr<Communicator>> communicators;
  for (int rank = first_rank; rank < first_rank + count; ++rank) {
    communicators.push_back(std::make_unique<LocalCommunicator>(group, rank));
  }
  return communicators;
}

}  // namespace thinkwire::worker::parallel

#include "worker/model/fault.h"

#include <chrono>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "common/check.h"

namespace thinkwire::worker::model {
namespace {

// Row 2^30 of 8 KB each is terabytes away from any memory.
constexpr std::int64_t kRowWidth = 4096;
constexpr std::size_t kRowBytes = 2 * kRowWidth;
constexpr std::int32_t kWildRow = 1 << 30;

}  // namespace

absl::StatusOr<Fault> ParseFault(std::string_view text) {
  Fault fault;
  if (text.empty()) return fault;
  const std::vector<std::string> parts =
      absl::StrSplit(absl::string_view(text.data(), text.size()), ':');
  std::size_t wanted = 3;
  if (parts[0] == "stuck_rank") {
    fault.kind = Fault::Kind::kStuckRank;
  } else if (parts[0] == "device_error") {
    fault.kind = Fault::Kind::kDeviceError;
  } else if (parts[0] == "stuck_engine") {
    fault.kind = Fault::Kind::kStuckEngine;
    wanted = 2;
  }
  if (fault.kind == Fault::Kind::kNone || parts.size() != wanted ||
      !absl::SimpleAtoi(parts[1], &fault.step) || fault.step == 0 ||
      (wanted == 3 && (!absl::SimpleAtoi(parts[2], &fault.rank) || fault.rank < 0))) {
    return absl::InvalidArgumentError(
        "fault is none of stuck_rank:STEP:RANK, device_error:STEP:RANK and stuck_engine:STEP, with "
        "steps from 1 and ranks from 0");
  }
  return fault;
}

RankFault::RankFault(const Fault& fault, int rank, kernels::Backend& backend)
    : fault_(fault), rank_(rank), backend_(backend) {
  if (fault_.kind != Fault::Kind::kDeviceError || fault_.rank != rank_) return;
  CHECK(backend_.capabilities().kind == kernels::DeviceKind::kCuda,
        "only a GPU's error is not the process's own");
  wild_ = backend_.Allocate(kRowBytes + sizeof(kWildRow));
  backend_.CopyToDevice(static_cast<std::byte*>(wild_.data()) + kRowBytes, &kWildRow,
                        sizeof(kWildRow));
}

void RankFault::Meet(std::uint64_t step) {
  const bool is_ranks =
      fault_.kind == Fault::Kind::kStuckRank || fault_.kind == Fault::Kind::kDeviceError;
  if (!is_ranks || fault_.step != step || fault_.rank != rank_) return;
  if (fault_.kind == Fault::Kind::kDeviceError) {
    const kernels::Tensor row =
        kernels::MakeTensor(wild_.data(), kernels::DType::kBf16, 1, kRowWidth);
    void* const index = static_cast<std::byte*>(wild_.data()) + kRowBytes;
    backend_.GatherRows(row, kernels::MakeTensor(index, kernels::DType::kI32, 1), row);
  }
  Hang();
}

void Hang() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

}  // namespace thinkwire::worker::model

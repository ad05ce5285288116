#include "worker/hub/summed_file.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <utility>

#include "common/status.h"

namespace thinkwire::worker::hub {
namespace {

constexpr std::int64_t kSumBytes = 256 << 10;    // at a time: what a core's own cache holds
constexpr std::int64_t kWriteBytes = 512 << 10;  // at a time, for fewer calls of the system

}  // namespace

static_assert(SummedFile::kRingBytes % kSumBytes == 0);
static_assert(SummedFile::kRingBytes % kWriteBytes == 0);

SummedFile::SummedFile(GrowingFile file, const std::string& etag, std::int64_t bytes)
    : file_(std::move(file)),
      digest_(etag, bytes),
      begun_(file_.size()),
      size_(begun_),
      ring_(kRingBytes),
      added_(size_),
      claimed_(size_),
      written_(size_),
      follows_(size_ == 0),
      write_thread_([this] { Write(); }),
      sum_thread_([this] { SumUp(); }) {}

SummedFile::~SummedFile() {
  Fail(absl::CancelledError("the sum is not wanted any more"));
  End();
}

absl::Status SummedFile::Add(std::string_view bytes) {
  for (std::size_t at = 0; at < bytes.size(); at += kSumBytes) {
    RETURN_IF_ERROR(AddPart(bytes.substr(at, kSumBytes)));
  }
  return absl::OkStatus();
}

absl::Status SummedFile::AddPart(std::string_view bytes) {
  const std::int64_t n = std::ssize(bytes);
  {
    const MutexLock lock(mu_);
    while (error_.ok() && !HasRoom(n)) room_.Wait(mu_);
    RETURN_IF_ERROR(error_);
    claimed_ += n;
  }
  const std::int64_t place = size_ % kRingBytes;
  const std::int64_t to_end = std::min(n, kRingBytes - place);
  std::memcpy(ring_.data() + place, bytes.data(), static_cast<std::size_t>(to_end));
  std::memcpy(ring_.data(), bytes.data() + to_end, static_cast<std::size_t>(n - to_end));
  size_ += n;
  bool writes = false;
  bool sums = false;
  {
    const MutexLock lock(mu_);
    writes = added_ - written_ < kWriteBytes && size_ - written_ >= kWriteBytes;
    sums = added_ - summed_ < kSumBytes && size_ - summed_ >= kSumBytes;
    added_ = size_;
  }
  if (writes) to_write_.NotifyAll();
  if (sums) to_sum_.NotifyAll();
  return absl::OkStatus();
}

bool SummedFile::HasRoom(std::int64_t bytes) const {
  const std::int64_t last =
      added_ + bytes - kRingBytes;  // the places of what is before it are free
  return last <= written_ && (!follows_ || last <= summed_);
}

std::string_view SummedFile::InRing(const Part& part) const {
  return {ring_.data() + part.first % kRingBytes, static_cast<std::size_t>(part.bytes)};
}

absl::Status SummedFile::Flush() {
  const MutexLock lock(mu_);
  flushes_ = true;
  to_write_.NotifyAll();
  while (error_.ok() && written_ < added_) room_.Wait(mu_);
  flushes_ = false;
  return error_;
}

void SummedFile::Fail(const absl::Status& status) {
  const MutexLock lock(mu_);
  if (error_.ok()) error_ = status;
  room_.NotifyAll();
  to_sum_.NotifyAll();
}

void SummedFile::Write() {
  for (Part part = NextToWrite(); part.bytes > 0; part = NextToWrite()) {
    if (const absl::Status status = file_.Append(InRing(part)); !status.ok()) return Fail(status);
    const MutexLock lock(mu_);
    written_ += part.bytes;
    room_.NotifyAll();
    if (!follows_) to_sum_.NotifyAll();
  }
}

SummedFile::Part SummedFile::NextToWrite() {
  const MutexLock lock(mu_);
  while (!ended_ && added_ - written_ < kWriteBytes && !(flushes_ && written_ < added_)) {
    to_write_.Wait(mu_);
  }
  const std::int64_t to_end = kRingBytes - written_ % kRingBytes;
  return {.first = written_, .bytes = std::min({added_ - written_, kWriteBytes, to_end})};
}

void SummedFile::SumUp() {
  std::vector<char> buffer(kSumBytes);
  for (Part part = NextToSum(); part.bytes > 0; part = NextToSum()) {
    if (const absl::Status status = Sum(part, buffer); !status.ok()) return Fail(status);
    const MutexLock lock(mu_);
    summed_ += part.bytes;
    if (follows_) room_.NotifyAll();
  }
}

SummedFile::Part SummedFile::NextToSum() {
  const MutexLock lock(mu_);
  while (error_.ok()) {
    follows_ = follows_ || summed_ >= std::max(begun_, claimed_ - kRingBytes);
    const std::int64_t there = (follows_ ? added_ : written_) - summed_;
    const std::int64_t to_end = kRingBytes - summed_ % kRingBytes;
    const bool is_last = ended_ && summed_ + there == added_;
    if (there >= kSumBytes || is_last) {
      const std::int64_t most = follows_ ? std::min(kSumBytes, to_end) : kSumBytes;
      return {.first = summed_, .bytes = std::min(there, most), .in_ring = follows_};
    }
    to_sum_.Wait(mu_);
  }
  return {};
}

absl::Status SummedFile::Sum(const Part& part, std::vector<char>& buffer) {
  if (part.in_ring) {
    digest_.Add(InRing(part));
    return absl::OkStatus();
  }
  const std::span<char> bytes = std::span(buffer).first(static_cast<std::size_t>(part.bytes));
  RETURN_IF_ERROR(file_.Read(part.first, bytes));
  digest_.Add({bytes.data(), bytes.size()});
  return absl::OkStatus();
}

void SummedFile::End() {
  {
    const MutexLock lock(mu_);
    ended_ = true;
  }
  to_write_.NotifyAll();
  to_sum_.NotifyAll();
  if (write_thread_.joinable()) write_thread_.join();
  if (sum_thread_.joinable()) sum_thread_.join();
}

absl::StatusOr<std::string> SummedFile::Finish() {
  End();
  {
    const MutexLock lock(mu_);
    RETURN_IF_ERROR(error_);
  }
  return digest_.Result();
}

}  // namespace thinkwire::worker::hub

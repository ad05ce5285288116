#include "worker/hub/following_digest.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>

#include "common/status.h"

namespace thinkwire::worker::hub {
namespace {

constexpr std::int64_t kPartBytes = 256 << 10;  // at a time: what a core's own cache holds

}  // namespace

static_assert(FollowingDigest::kRingBytes % kPartBytes == 0);

FollowingDigest::FollowingDigest(const GrowingFile& file, const std::string& etag,
                                 std::int64_t bytes)
    : file_(file),
      ring_(kRingBytes),
      digest_(etag, bytes),
      added_(file.size()),
      in_ring_from_(file.size()),
      thread_([this] { Run(); }) {}

FollowingDigest::~FollowingDigest() {
  if (thread_.joinable()) End();
}

void FollowingDigest::Add(std::string_view bytes) {
  for (std::size_t at = 0; at < bytes.size(); at += kPartBytes) {
    AddPart(bytes.substr(at, kPartBytes));
  }
}

void FollowingDigest::AddPart(std::string_view bytes) {
  const std::int64_t n = std::ssize(bytes);
  const bool fits = MakeRoom(n);
  std::int64_t first = 0;
  {
    const MutexLock lock(mu_);
    first = added_;
  }
  if (fits) {
    const std::int64_t place = first % kRingBytes;
    const std::int64_t to_end = std::min(n, kRingBytes - place);
    std::memcpy(ring_.data() + place, bytes.data(), static_cast<std::size_t>(to_end));
    std::memcpy(ring_.data(), bytes.data() + to_end, static_cast<std::size_t>(n - to_end));
  }
  bool wake = false;
  {
    const MutexLock lock(mu_);
    added_ += n;
    if (!fits) in_ring_from_ = added_;
    wake = thread_waits_ && added_ - summed_ >= kPartBytes;
  }
  if (wake) changed_.NotifyAll();
}

bool FollowingDigest::MakeRoom(std::int64_t bytes) {
  const MutexLock lock(mu_);
  writer_waits_ = true;
  while (!failed_ && summed_ >= in_ring_from_ && added_ + bytes - summed_ > kRingBytes) {
    changed_.Wait(mu_);
  }
  writer_waits_ = false;
  return added_ + bytes - summed_ <= kRingBytes;
}

void FollowingDigest::Run() {
  std::vector<char> buffer(kPartBytes);
  for (Part part = NextPart(); part.bytes > 0; part = NextPart()) {
    sum_status_ = Sum(part, buffer);
    bool wake = false;
    {
      const MutexLock lock(mu_);
      summed_ += part.bytes;
      failed_ = !sum_status_.ok();
      wake = writer_waits_;
    }
    if (wake) changed_.NotifyAll();
    if (!sum_status_.ok()) return;
  }
}

FollowingDigest::Part FollowingDigest::NextPart() {
  const MutexLock lock(mu_);
  thread_waits_ = true;
  while (!ended_ && added_ - summed_ < kPartBytes) changed_.Wait(mu_);
  thread_waits_ = false;
  Part part{.first = summed_, .in_ring = summed_ >= in_ring_from_};
  const std::int64_t end = part.in_ring ? added_ : std::min(added_, in_ring_from_);
  const std::int64_t to_end = kRingBytes - summed_ % kRingBytes;
  part.bytes = std::min({end - summed_, kPartBytes, to_end});
  return part;
}

absl::Status FollowingDigest::Sum(const Part& part, std::vector<char>& buffer) {
  const auto n = static_cast<std::size_t>(part.bytes);
  if (part.in_ring) {
    digest_.Add({ring_.data() + part.first % kRingBytes, n});
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(file_.Read(part.first, std::span(buffer).first(n)));
  digest_.Add({buffer.data(), n});
  return absl::OkStatus();
}

void FollowingDigest::End() {
  {
    const MutexLock lock(mu_);
    ended_ = true;
  }
  changed_.NotifyAll();
  thread_.join();
}

absl::StatusOr<std::string> FollowingDigest::Finish() {
  End();
  RETURN_IF_ERROR(sum_status_);
  return digest_.Result();
}

}  // namespace thinkwire::worker::hub

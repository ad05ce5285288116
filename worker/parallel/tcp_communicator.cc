#include "worker/parallel/tcp_communicator.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "common/check.h"
#include "worker/kernels/end_process.h"

namespace thinkwire::worker::parallel {
namespace {

std::span<float> ElementsOf(const kernels::Tensor& x) {
  return {x.as<float>(), static_cast<std::size_t>(x.size())};
}

std::span<const char> BytesOf(std::span<const float> x) {
  return {reinterpret_cast<const char*>(x.data()), x.size_bytes()};
}

std::span<char> WritableBytesOf(std::span<float> x) {
  return {reinterpret_cast<char*>(x.data()), x.size_bytes()};
}

// Copies part [L, W] to the columns of out [L, V] that begin at first.
void PlaceColumns(const float* part, const kernels::Tensor& out, std::int64_t width,
                  std::int64_t first) {
  for (std::int64_t l = 0; l < out.dim(0); ++l) {
    std::copy_n(part + l * width, width, out.as<float>() + l * out.dim(1) + first);
  }
}

void EndUnless(int rank, const absl::Status& status) {
  if (status.ok()) return;
  const std::string message(status.message());
  kernels::EndProcess("rank %d: its group is broken: %s", rank, message.c_str());
}

}  // namespace

TcpCommunicator::TcpCommunicator(int rank, int size, Links links)
    : rank_(rank), size_(size), links_(std::move(links)) {
  CHECK(rank >= 0 && rank < size, "a rank is below its group's size");
  CHECK(links_.size() == static_cast<std::size_t>(rank == 0 ? size - 1 : 1),
        "rank 0 has a link to each other rank, another rank has one to rank 0");
}

void TcpCommunicator::AllReduce(const kernels::Tensor& x) {
  CHECK(x.dtype == kernels::DType::kF32, "CPU ranks reduce f32");
  ++call_;
  if (rank_ == 0) {
    AddAll(ElementsOf(x));
  } else {
    Exchange(ElementsOf(x), ElementsOf(x));
  }
}

void TcpCommunicator::AllGatherColumns(const kernels::Tensor& local, const kernels::Tensor& out) {
  CHECK(local.rank == 2 && out.rank == 2 && local.dim(0) == out.dim(0) &&
            local.dim(1) * size() == out.dim(1) && local.dtype == kernels::DType::kF32 &&
            out.dtype == kernels::DType::kF32,
        "local is f32 [L, V / R], out is f32 [L, V]");
  ++call_;
  if (rank_ == 0) {
    PlaceAll(local, out);
  } else {
    Exchange(ElementsOf(local), ElementsOf(out));
  }
}

void TcpCommunicator::AddAll(std::span<float> x) {
  part_.resize(x.size());
  for (int r = 1; r < size_; ++r) {
    HearPart(r, part_);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += part_[i];
  }
  SendWhole(x);
}

void TcpCommunicator::PlaceAll(const kernels::Tensor& local, const kernels::Tensor& out) {
  const std::int64_t width = local.dim(1);
  part_.resize(static_cast<std::size_t>(local.size()));
  PlaceColumns(local.as<float>(), out, width, 0);
  for (int r = 1; r < size_; ++r) {
    HearPart(r, part_);
    PlaceColumns(part_.data(), out, width, r * width);
  }
  SendWhole(ElementsOf(out));
}

void TcpCommunicator::HearPart(int rank, std::span<float> part) {
  PeerLink& link = *links_[static_cast<std::size_t>(rank - 1)];
  EndUnless(rank_, link.Receive(FrameKind::kPart, call_, WritableBytesOf(part)));
}

void TcpCommunicator::SendWhole(std::span<const float> whole) {
  for (const auto& link : links_) {
    EndUnless(rank_, link->Send(FrameKind::kWhole, call_, BytesOf(whole)));
  }
}

void TcpCommunicator::Exchange(std::span<const float> part, std::span<float> whole) {
  EndUnless(rank_, links_.front()->Send(FrameKind::kPart, call_, BytesOf(part)));
  EndUnless(rank_, links_.front()->Receive(FrameKind::kWhole, call_, WritableBytesOf(whole)));
}

}  // namespace thinkwire::worker::parallel

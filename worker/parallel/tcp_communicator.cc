#include "worker/parallel/tcp_communicator.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <iterator>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/status.h"
#include "worker/kernels/add_pairwise.h"
#include "worker/kernels/end_process.h"
#include "worker/parallel/gather.h"
#include "worker/parallel/roll_call.h"

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

// Rank 0's link to another rank of its own process, and that rank's.
struct LinkPair {
  std::unique_ptr<PeerLink> of_first;
  std::unique_ptr<PeerLink> of_other;
};

absl::StatusOr<LinkPair> LinkInside(int rank) {
  std::array<int, 2> sockets = {-1, -1};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
    return absl::InternalError(
        absl::StrCat("rank ", rank, " gets no socket: ", std::strerror(errno)));
  }
  return LinkPair{std::make_unique<PeerLink>(sockets[0], NameOfRanks(rank, 1), kSumPatience),
                  std::make_unique<PeerLink>(sockets[1], NameOfRanks(0, 1), kSumPatience)};
}

}  // namespace

TcpCommunicator::TcpCommunicator(int rank, int size, Links links)
    : rank_(rank),
      size_(size),
      links_(std::move(links)),
      parts_(rank == 0 ? kernels::SumsOfPairs(static_cast<std::size_t>(size)) : 0) {
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
  const auto count = static_cast<std::size_t>(size_);
  const auto sum = [&](std::size_t at) { return at == 0 ? x : std::span<float>(parts_[at - 1]); };
  kernels::AddPairwise(
      count,
      [&](std::size_t rank, std::size_t at) {
        if (rank == 0) return;  // that is x
        parts_[at - 1].resize(x.size());
        HearPart(static_cast<int>(rank), parts_[at - 1]);
      },
      [&](std::size_t to, std::size_t from) {
        std::ranges::transform(sum(to), sum(from), sum(to).begin(), std::plus<>());
      });
  SendWhole(x);
}

void TcpCommunicator::PlaceAll(const kernels::Tensor& local, const kernels::Tensor& out) {
  const std::int64_t width = local.dim(1);
  std::vector<float>& part = parts_.front();
  part.resize(static_cast<std::size_t>(local.size()));
  PlaceColumns(local.as<float>(), out, width, 0);
  for (int r = 1; r < size_; ++r) {
    HearPart(r, part);
    PlaceColumns(part.data(), out, width, r * width);
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

absl::StatusOr<std::vector<std::unique_ptr<Communicator>>> OpenTcpCommunicators(
    int first_rank, int num_ranks, int size, TcpCommunicator::Links links) {
  const int expected = first_rank == 0 ? size - num_ranks : num_ranks;
  if (links.size() != static_cast<std::size_t>(expected)) {
    return absl::InvalidArgumentError(absl::StrCat("the ranks of this process have ", links.size(),
                                                   " connections for their sums, not ", expected));
  }
  std::vector<std::unique_ptr<Communicator>> communicators;
  TcpCommunicator::Links to_all;  // from rank 0
  for (int rank = first_rank == 0 ? 1 : first_rank; rank < first_rank + num_ranks; ++rank) {
    TcpCommunicator::Links to_first;
    if (first_rank == 0) {
      ASSIGN_OR_RETURN(LinkPair pair, LinkInside(rank));
      to_all.push_back(std::move(pair.of_first));
      to_first.push_back(std::move(pair.of_other));
    } else {
      to_first.push_back(std::move(links[static_cast<std::size_t>(rank - first_rank)]));
    }
    communicators.push_back(std::make_unique<TcpCommunicator>(rank, size, std::move(to_first)));
  }
  if (first_rank != 0) return communicators;
  std::move(links.begin(), links.end(), std::back_inserter(to_all));
  communicators.insert(communicators.begin(),
                       std::make_unique<TcpCommunicator>(0, size, std::move(to_all)));
  return communicators;
}

}  // namespace thinkwire::worker::parallel

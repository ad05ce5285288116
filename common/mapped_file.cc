#include "common/mapped_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/file.h"
#include "common/status.h"

namespace thinkwire {
namespace {

void DropShare(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(bytes.data());
  // Of a piece that is no whole page too: the system maps up to 2 MB for who reads a part of it.
  const std::uintptr_t first = begin / page * page;
  const std::uintptr_t end = (begin + bytes.size() + page - 1) / page * page;
  // Advice: if it is refused, the pages stay.
  ::madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
}

}  // namespace

absl::StatusOr<MappedFile> MappedFile::Open(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const RegularFile file, RegularFile::Open(path));
  void* data = nullptr;
  if (file.size() > 0) {
    data = ::mmap(nullptr, file.size(), PROT_READ, MAP_PRIVATE, file.descriptor(), 0);
  }
  if (data == MAP_FAILED) {
    return absl::InvalidArgumentError(
        absl::StrCat(path.string(), ": cannot be mapped: ", std::strerror(errno)));
  }
  return MappedFile(static_cast<const std::byte*>(data), file.size(), path.string());
}

MappedFile::MappedFile(const std::byte* data, std::size_t size, std::string path)
    : data_(data), size_(size), path_(std::move(path)) {}

MappedFile::MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void DropPages(std::span<const std::byte> bytes) {
  constexpr std::size_t kShare = 32 << 20;  // of a thread, at least
  constexpr std::size_t kMostShares = 8;
  const std::size_t shares = std::clamp<std::size_t>(bytes.size() / kShare, 1, kMostShares);
  const std::size_t share = bytes.size() / shares;
  std::vector<std::thread> threads;
  for (std::size_t i = 1; i < shares; ++i) {
    threads.emplace_back(DropShare, bytes.subspan(i * share, share));
  }
  DropShare(bytes.first(share));
  DropShare(bytes.subspan(shares * share));  // what could not be divided
  for (std::thread& thread : threads) thread.join();
}

}  // namespace thinkwire

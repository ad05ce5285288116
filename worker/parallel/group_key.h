#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace thinkwire::worker::parallel {

inline constexpr std::size_t kMinGroupTokenBytes = 16;
inline constexpr std::size_t kMaxGroupTokenBytes = 4096;
inline constexpr std::size_t kSignatureBytes = 32;
inline constexpr std::size_t kNonceBytes = 32;

// The secret that the processes of a group share, by which each knows the other. It never travels:
// what does is signed with it (HMAC-SHA256, RFC 2104). Threads: any.
class GroupKey {
 public:
  // REQUIRES: kMinGroupTokenBytes to kMaxGroupTokenBytes.
  explicit GroupKey(std::string token);

  // The key of a file's bytes, without the line ends after them. Fails: as ReadFile;
  // INVALID_ARGUMENT, with the number, for too few bytes.
  static absl::StatusOr<GroupKey> Read(const std::filesystem::path& path);

  std::string Sign(std::string_view text) const;  // kSignatureBytes

  // Takes as long whatever `signature` is.
  bool HasSigned(std::string_view text, std::string_view signature) const;

 private:
  std::string token_;
};

// kNonceBytes that nobody has had or can guess: what makes a signature good for once.
std::string NewNonce();

}  // namespace thinkwire::worker::parallel

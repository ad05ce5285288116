#include "common/rpc/trusted_peers.h"

#include <algorithm>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "common/listen_address.h"
#include "common/status.h"

namespace thinkwire::rpc {
namespace {

bool Bit(const IpAddress& address, int index) {
  return (address.bytes[static_cast<std::size_t>(index / 8)] & (0x80 >> (index % 8))) != 0;
}

bool HasBitsFrom(int length, const IpAddress& address) {
  for (int i = length; i < address.bits; ++i) {
    if (Bit(address, i)) return true;
  }
  return false;
}

// Equal in their first `length` bits.
bool Agree(const IpAddress& a, const IpAddress& b, int length) {
  if (a.bits != b.bits) return false;
  for (int i = 0; i < length; ++i) {
    if (Bit(a, i) != Bit(b, i)) return false;
  }
  return true;
}

absl::Status Wrong(absl::string_view entry, absl::string_view why) {
  constexpr std::size_t kShown = 64;  // longer than any that is right
  const std::string shown = absl::CHexEscape(entry.substr(0, kShown));
  return absl::InvalidArgumentError(absl::StrCat("'", shown, "' ", why));
}

}  // namespace

absl::StatusOr<TrustedPeers> TrustedPeers::Parse(absl::string_view list) {
  TrustedPeers peers;
  if (list.empty()) return peers;
  for (const absl::string_view entry : absl::StrSplit(list, ',')) {
    ASSIGN_OR_RETURN(const Prefix prefix, ParsePrefix(absl::StripAsciiWhitespace(entry)));
    peers.prefixes_.push_back(prefix);
  }
  return peers;
}

TrustedPeers TrustedPeers::Loopback() { return *Parse("127.0.0.0/8,::1"); }

absl::StatusOr<TrustedPeers::Prefix> TrustedPeers::ParsePrefix(absl::string_view text) {
  const std::size_t slash = text.find('/');
  const auto address = ReadIpAddress(std::string(text.substr(0, slash)));
  if (!address) return Wrong(text, "is neither an IP address nor a prefix such as 10.1.0.0/16");
  Prefix prefix{.address = *address, .length = address->bits};
  if (slash == text.npos) return prefix;
  if (!absl::SimpleAtoi(text.substr(slash + 1), &prefix.length) || prefix.length < 0 ||
      prefix.length > address->bits) {
    return Wrong(text, absl::StrCat("must have a length from 0 to ", address->bits));
  }
  if (HasBitsFrom(prefix.length, *address)) {
    return Wrong(text, absl::StrCat("has more bits than the ", prefix.length, " of its prefix"));
  }
  return prefix;
}

bool TrustedPeers::Contain(std::string_view grpc_peer) const {
  const std::optional<IpAddress> peer = AddressOfPeer(grpc_peer);
  return peer && std::ranges::any_of(prefixes_, [&](const Prefix& prefix) {
           return Agree(*peer, prefix.address, prefix.length);
         });
}

std::string TrustedPeers::ShareKey(std::string_view grpc_peer) const {
  return Contain(grpc_peer) ? "" : PeerKey(grpc_peer);
}

TrustedPeers Forwarders(const TrustedPeers& trusted, const std::string& listen) {
  return trusted.empty() && IsLoopback(listen) ? TrustedPeers::Loopback() : trusted;
}

}  // namespace thinkwire::rpc

#include "router/prompt_hash.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "common/check.h"

namespace thinkwire::router {
namespace {

using decision::PromptMark;

struct FreeMac {
  void operator()(EVP_MAC* mac) const { EVP_MAC_free(mac); }
  void operator()(EVP_MAC_CTX* context) const { EVP_MAC_CTX_free(context); }
};

// What lies between two places, of which kind: pieces of one kind alone can be equal.
enum class Piece : std::uint8_t { kSalt, kInside, kEnd, kTools, kIds };

// Hashes a prompt piece by piece, each with the hash before it.
class Chain {
 public:
  Chain(const fleet::PrefixKey& key, std::string_view salt)
      : key_(key),
        mac_(EVP_MAC_fetch(nullptr, "SIPHASH", nullptr)),
        context_(EVP_MAC_CTX_new(mac_.get())) {
    CHECK(context_ != nullptr, "OpenSSL has SipHash");
    Add(Piece::kSalt, 0, salt);
  }

  void Add(Piece piece, std::uint8_t role, std::string_view bytes) {
    CHECK(EVP_MAC_init(context_.get(), key_.data(), key_.size(), nullptr) == 1, "a key of SipHash");
    std::array<unsigned char, sizeof(hash_) + 2> head{};
    std::memcpy(head.data(), &hash_, sizeof(hash_));
    head[sizeof(hash_)] = static_cast<unsigned char>(piece);
    head[sizeof(hash_) + 1] = role;
    Update(head.data(), head.size());
    Update(bytes.data(), bytes.size());
    std::array<unsigned char, 16> digest{};
    std::size_t size = 0;
    CHECK(EVP_MAC_final(context_.get(), digest.data(), &size, digest.size()) == 1 &&
              size >= sizeof(hash_),
          "a digest of SipHash");
    std::memcpy(&hash_, digest.data(), sizeof(hash_));
  }

  std::uint64_t hash() const { return hash_; }

 private:
  void Update(const void* bytes, std::size_t size) {
    CHECK(EVP_MAC_update(context_.get(), static_cast<const unsigned char*>(bytes), size) == 1,
          "bytes of SipHash");
  }

  const fleet::PrefixKey& key_;
  const std::unique_ptr<EVP_MAC, FreeMac> mac_;
  const std::unique_ptr<EVP_MAC_CTX, FreeMac> context_;
  std::uint64_t hash_ = 0;
};

// All places of a prompt.
class Places {
 public:
  Places(const fleet::PrefixKey& key, std::string_view salt) : chain_(key, salt) {}

  void AddMessage(const v1::ChatMessage& message) {
    const auto role = static_cast<std::uint8_t>(message.role());
    const std::string_view rest = AddPieces(Piece::kInside, role, message.content());
    for (const v1::ToolCall& call : message.tool_calls()) {
      chain_.Add(Piece::kTools, role, call.SerializeAsString());
    }
    AddPlace(Piece::kEnd, role, rest);
  }
  // What is no full piece is nobody's beginning but the same prompt's.
  void AddText(std::string_view text) { bytes_ += AddPieces(Piece::kInside, 0, text).size(); }
  void AddIds(std::string_view ids) { bytes_ += AddPieces(Piece::kIds, 0, ids).size(); }

  // Those that are kept.
  decision::PromptMarks Marks(std::string peer) const {
    decision::PromptMarks marks{.peer = std::move(peer), .bytes = bytes_};
    for (std::size_t place = 1; place <= all_.size(); ++place) {
      const PromptMark& mark = all_[place - 1];
      if (mark.bytes < kMinMarkBytes) continue;
      if (decision::KeepsMark(place, all_.size()) || place == first_end_)
        marks.list.push_back(mark);
    }
    return marks;
  }

 private:
  // What is left of `bytes` behind the full pieces.
  std::string_view AddPieces(Piece piece, std::uint8_t role, std::string_view bytes) {
    for (; bytes.size() >= kPieceBytes; bytes.remove_prefix(kPieceBytes)) {
      AddPlace(piece, role, bytes.substr(0, kPieceBytes));
    }
    return bytes;
  }
  void AddPlace(Piece piece, std::uint8_t role, std::string_view bytes) {
    chain_.Add(piece, role, bytes);
    bytes_ += bytes.size();
    all_.push_back({.hash = chain_.hash(), .bytes = bytes_});
    if (piece == Piece::kEnd && first_end_ == 0) first_end_ = all_.size();
  }

  Chain chain_;
  std::vector<PromptMark> all_;
  std::size_t bytes_ = 0;
  // Of the first message, which many conversations may have in common: kept however far it is.
  std::size_t first_end_ = 0;
};

std::string_view BytesOf(const v1::TokenIds& ids) {
  return {reinterpret_cast<const char*>(ids.ids().data()), ids.ids_size() * sizeof(std::int32_t)};
}

}  // namespace

decision::PromptMarks MarkPrompt(const v1::GenerateRequest& request, const fleet::PrefixKey& key,
                                 std::string peer) {
  Places places(key, request.cache_salt());
  const v1::Prompt& prompt = request.prompt();
  for (const v1::ChatMessage& message : prompt.chat().messages()) places.AddMessage(message);
  if (prompt.has_text()) places.AddText(prompt.text());
  if (prompt.has_token_ids()) places.AddIds(BytesOf(prompt.token_ids()));
  return places.Marks(std::move(peer));
}

}  // namespace thinkwire::router

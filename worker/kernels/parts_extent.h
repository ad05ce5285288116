#pragma once

#include <algorithm>
#include <cstdint>

// What latent attention and experts need of scratch memory on a GPU. Letters as in latents.h and
// experts.h.
namespace thinkwire::worker::kernels {

// What a GPU computes of experts at a time: longer steps go in pieces.
inline constexpr std::int64_t kMixTokens = 2048;

// Scratch memory of a GPU's MixExperts for the largest step.
struct MixExtent {
  std::int64_t max_tokens = 0;  // T
  std::int64_t per_token = 0;   // P; 0: there are no experts
  std::int64_t hidden = 0;      // E
  std::int64_t ffn = 0;         // F
  std::int64_t experts = 0;     // X

  // Of a piece's tokens, each with P experts: what is between in bf16, outputs in f32; and where
  // the experts' tokens stand.
  std::int64_t device_bytes() const {
    const std::int64_t pairs = std::min(max_tokens, kMixTokens) * per_token;
    return pairs * (2 * ffn + 4 * hidden + 4) + (2 * (pairs + experts) + 1) * 4 + 1024;
  }
};

// Scratch memory of AttendLatents on a GPU: partial results of kLatentPartials segments and what
// kLatentBlocks blocks have so far.
inline constexpr std::int64_t kLatentPartials = 1024;
inline constexpr std::int64_t kLatentBlocks = 264;
inline constexpr std::int64_t kLatentWidth = 512;      // the one C that a GPU takes
inline constexpr std::int64_t kLatentRotated = 64;     // the one R
inline constexpr std::int64_t kLatentBlockHeads = 32;  // heads of a block
constexpr std::int64_t LatentWorkspaceBytes(std::int64_t heads) {
  return kLatentPartials * heads * (kLatentWidth + 2) * 4 +
         kLatentBlocks * kLatentBlockHeads * kLatentWidth * 4 + 1024;
}

// The largest step's, in one rank's shares.
struct PartsExtent {
  std::int64_t max_tokens = 0;    // T
  std::int64_t latent_heads = 0;  // H of latent attention; 0: there is none
  MixExtent mix = {};

  std::int64_t device_bytes() const {
    std::int64_t bytes = latent_heads > 0 ? LatentWorkspaceBytes(latent_heads) : 0;
    return mix.per_token > 0 ? bytes + mix.device_bytes() : bytes;
  }
};

}  // namespace thinkwire::worker::kernels

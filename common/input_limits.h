#pragma once

#include <cstddef>
#include <cstdint>

// What may come from outside before anything is served: files, and options that speak of the model
// or the machine. Every reader takes its limits from here, so that none lacks one that its
// neighbour has. They lie far above what models of the family and their fleets have (in brackets),
// and so low that no product of them overflows 64 bits and whatever passes is read within seconds.
namespace thinkwire {

// Bytes of a file.
inline constexpr std::size_t kMaxTokenizerBytes = std::size_t{64} << 20;  // tokenizer.json (17 MB)
inline constexpr std::size_t kMaxTokenizerConfigBytes = std::size_t{4} << 20;
inline constexpr std::size_t kMaxModelConfigBytes = std::size_t{1} << 20;   // (2 KB)
inline constexpr std::size_t kMaxTensorIndexBytes = std::size_t{32} << 20;  // (9 MB)
inline constexpr std::size_t kMaxTensorHeaderBytes = 100'000'000;  // safetensors' own limit (1 MB)
inline constexpr std::size_t kMaxRouterConfigBytes = std::size_t{1} << 20;  // (1 KB)
inline constexpr std::size_t kMinCacheSaltKeyBytes = 16;    // of --cache_salt_key_file (32)
inline constexpr std::size_t kMaxCacheSaltKeyBytes = 1024;  // likewise
inline constexpr std::size_t kMaxTlsFileBytes = std::size_t{1} << 20;       // PEM (220 KB)
inline constexpr std::size_t kMaxTenantsFileBytes = std::size_t{1} << 20;   // (10 KB)
inline constexpr std::size_t kMaxTokenizeLineBytes = std::size_t{8} << 20;  // a line of stdin
inline constexpr std::size_t kMaxQuestionBytes = std::size_t{2} << 20;      // as long as a request
inline constexpr std::size_t kMaxTraceBytes = std::size_t{256} << 20;       // of --dry_run
inline constexpr std::size_t kMaxTraceLineBytes = std::size_t{16} << 20;    // a request in JSON

// Any JSON.
inline constexpr int kMaxJsonDepth = 64;                             // containers in each other
inline constexpr std::size_t kMaxJsonValues = std::size_t{8} << 20;  // in all (1.5 million)

// A tokenizer.
inline constexpr std::int32_t kMaxTokenIds = 1 << 22;      // ids are below (152k)
inline constexpr std::int32_t kMaxMerges = (1 << 20) - 1;  // of two tokens (280k)
inline constexpr std::size_t kMaxTokenBytes = 4096;        // an added token (32)
inline constexpr std::size_t kMaxSplitPatterns = 16;       // one after another (3)
inline constexpr std::size_t kMaxSplitPatternBytes = std::size_t{16} << 10;  // (200)

// A model's sizes, as config.json has them.
inline constexpr std::int64_t kMaxHiddenSize = 1 << 17;
inline constexpr std::int64_t kMaxLayers = 1 << 10;
inline constexpr std::int64_t kMaxHeads = 1 << 10;
inline constexpr std::int64_t kMaxHeadDim = 1 << 10;
inline constexpr std::int64_t kMaxIntermediateSize = 1 << 20;
inline constexpr std::int64_t kMaxVocabSize = kMaxTokenIds;
inline constexpr std::int64_t kMaxPositions = 1 << 24;
inline constexpr double kMaxRopeTheta = 1e12;

// A sequence: a token of a prompt and one of output at least.
inline constexpr std::int32_t kMinModelLen = 2;
inline constexpr std::int32_t kMaxModelLen = 1 << 20;

// What a worker does at once.
inline constexpr std::int32_t kMaxRanks = 64;
inline constexpr std::int32_t kMaxNumSeqs = 4096;
inline constexpr std::int32_t kMaxQueueLength = 1'000'000;
inline constexpr std::int32_t kMaxBatchedTokens = 1 << 16;
inline constexpr std::int32_t kMinBlockTokens = 16;  // of which others are multiples
inline constexpr std::int32_t kMaxBlockTokens = 256;
inline constexpr std::int32_t kMaxCpuThreads = 1024;
inline constexpr std::int32_t kMaxTextThreads = 256;

// A router's variants. A worker's name obeys the same rule, as a router asks for it.
inline constexpr std::size_t kMaxVariants = 64;
inline constexpr std::size_t kMaxWorkersOfVariant = 256;
inline constexpr std::size_t kMaxWorkers = 1024;  // in all: each has a channel and a watch
inline constexpr std::size_t kMaxAliasesOfVariant = 64;
inline constexpr std::size_t kMaxVariantNameBytes = 64;
inline constexpr std::size_t kMaxAliasBytes = 128;
inline constexpr std::size_t kMaxFingerprintBytes = 256;  // (16)

// A router's tenants, and what they are known by.
inline constexpr std::size_t kMaxTenants = 256;      // each has metrics of its own
inline constexpr std::size_t kMaxTenantKeys = 1024;  // of all: each is compared with each call's
inline constexpr std::size_t kMaxTenantCertificates = 1024;
inline constexpr std::size_t kMaxTenantNameBytes = 48;  // it travels in metadata
inline constexpr std::size_t kMinApiKeyBytes = 32;      // what is shorter may be guessed (64)
inline constexpr std::size_t kMaxApiKeyBytes = 256;

}  // namespace thinkwire

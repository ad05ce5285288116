#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

// What a peer can hold of a server, and for how long: nobody holds what others need at his own
// pace. Each resource has an owner, a limit, a share of one peer and an end, here in this order;
// the README has the same table for operators, tests/FAULTS.md the tests. A share binds under
// contention only (rpc::Shares: eight times what is free; rpc::ConnectionTable), by address, and
// not for
// --trusted_peers. A new resource that a peer can hold gets its line here first.
namespace thinkwire {

// A connection. Owner: rpc::ConnectionTable. One too many: the longest idle one of whoever has most
// ends. Nobody there any more: keepalive (rpc/keepalive.h).
inline constexpr std::int32_t kMaxConnections = 1024;      // --max_connections
inline constexpr std::int32_t kReservedConnections = 16;   // of them: this machine, trusted peers
inline constexpr int kMaxStreamsOfConnection = 1024;       // about 20 KB each
inline constexpr double kMaxResets = 500;                  // lately; then the connection is closed
inline constexpr std::chrono::seconds kResetHalfLife{10};  // what "lately" means

// A call. Owner: rpc::OpenCalls. One too many, or over the share: RESOURCE_EXHAUSTED.
inline constexpr std::int64_t kMaxCalls = 8192;             // over all connections
inline constexpr std::chrono::seconds kMessageTimeout{30};  // until its one message is there
inline constexpr std::chrono::seconds kReaderTimeout{60};   // a write, until the transport has it
inline constexpr std::chrono::seconds kGoodbyeTimeout{1};   // the same of its end, in a shutdown
inline constexpr int kMaxMessageBytes = 2 << 20;            // of a full context: < 1 MB

// Bytes. Owners: gRPC's quota while they arrive, then rpc::RequestBytes. Over: RESOURCE_EXHAUSTED.
inline constexpr std::size_t kMaxArrivingBytes = std::size_t{512} << 20;
inline constexpr std::size_t kLargeRequestBytes = std::size_t{128} << 10;  // some 30k tokens
// A hundred prompts that fill a context of 128k tokens, of which a GPU's KV cache holds a few.
inline constexpr std::size_t kMaxLargeBytes = std::size_t{64} << 20;
inline constexpr std::size_t kMaxSmallBytes = std::size_t{128} << 20;

// Messages that a call is to send and its reader has not taken. Owner: rpc::ServerCall; each may
// have one of any size. Full: who makes them waits, the router for its client and so the worker for
// the router.
inline constexpr std::size_t kMaxQueuedBytes = std::size_t{128} << 10;      // of a call, behind it
inline constexpr std::size_t kMaxAllQueuedBytes = std::size_t{256} << 20;  // of all, by shares

// What a worker can hold of a router. Owners: rpc::AttemptContract and rpc::StreamContract for what
// a stream says, fleet::WorkerClient for when; worker.proto has the same as a promise. Over: the
// call ends, INTERNAL (WORKER_PROTOCOL) or UNAVAILABLE (WORKER_SILENT), and the worker gets less
// (fleet::WorkerTrust).
inline constexpr int kMaxAnswerBytes =  // a message: a context of ids of four bytes, and some more
    (4 << 20) + (64 << 10);
inline constexpr std::int32_t kMaxEventTokens = 1024;         // of one event; a worker's has 16
inline constexpr std::int64_t kMaxTextBytesOfToken = 4096;    // on average, since the output began
inline constexpr std::chrono::seconds kSignInterval{5};       // of an honest worker, at most
inline constexpr std::chrono::seconds kMaxSilence{30};        // while the router reads
inline constexpr std::chrono::minutes kMaxWithoutProgress{60};  // with signs of life alone
inline constexpr std::int64_t kSignBurst = 64;                // of such signs, and
inline constexpr std::int64_t kSignsASecond = 20;  // so many more; an honest worker's are four
// Requests of a router that one worker may leave unanswered, and who did so fails for how long.
inline constexpr std::int64_t kMaxUnanswered = 32;  // more go to others first
inline constexpr std::chrono::seconds kFirstDistrust{1};  // twice as long with each failure in a row
inline constexpr std::chrono::minutes kLastDistrust{1};

// A watch, of a worker's status (StatusBoard) or of health (rpc::HealthService); trusted peers have
// as many again of their own. One too many: RESOURCE_EXHAUSTED.
inline constexpr std::int64_t kMaxStatusWatches = 256;
inline constexpr std::int64_t kMaxHealthWatches = 1024;

// A place in a worker's queue, and its text threads (TextPool, PromptQueue). One too many:
// RESOURCE_EXHAUSTED; running streams go first, then peers by turns.
inline constexpr std::int32_t kMaxQueue = 1024;  // --max_queue
inline constexpr std::size_t kLongPromptBytes = std::size_t{32}
                                                << 10;  // one thread takes no longer

// A slot and KV blocks. Owner: the scheduler. A stream that is not read (an outbox of so many
// tokens is full) gives them to whoever waits; who then takes fewer than three quarters of an
// outbox in every kReaderTimeout is ended.
inline constexpr std::size_t kOutboxTokens = 64;

// A connection of /metrics. Owner: rpc::MetricsServer. One too many: the oldest ends.
inline constexpr int kMaxMetricsConnections = 64;
inline constexpr std::chrono::seconds kMetricsTimeout{5};  // of each, in all
inline constexpr std::size_t kMaxHttpHeaderBytes = 8 << 10;

}  // namespace thinkwire

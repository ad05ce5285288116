#pragma once

#include <algorithm>
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
inline constexpr std::int32_t kMaxConnections = 1024;     // --max_connections
inline constexpr std::int32_t kReservedConnections = 16;  // of them: this machine, trusted peers
// Lately, and more than streams of answers (rpc::ResetCounts); then a connection of the peer is
// closed with each more, unless it is a trusted peer's, behind whom are many; and a new one of the
// same peer waits until what was "lately" counts half. That many wait, one more is reset.
inline constexpr double kMaxResets = 500;
inline constexpr std::chrono::seconds kResetHalfLife{10};  // what "lately" means
inline constexpr std::size_t kMaxWaitingConnections = 64;
inline constexpr std::size_t kMaxWaitingOfPeer = 4;

// A call. Owner: rpc::OpenCalls. One too many, or over the share: RESOURCE_EXHAUSTED. Trusted peers
// have as many again of their own. A forwarder (rpc::Forwarders) has everybody's calls on one
// connection, so that no limit of streams holds for it but that of all calls; where there are none,
// HTTP/2 has clients wait for a stream of their connection.
inline constexpr std::int64_t kMaxCalls = 8192;  // over all connections; about 20 KB each
inline constexpr int kMaxStreamsOfConnection = 1024;
// A refused call, until its client has read so, some 12 KB. Owner: rpc::RefusedCalls. One too many:
// the connection that has most of them, of the peer that has most, is closed, unless it is a
// trusted peer's or a forwarder's.
inline constexpr std::size_t kMaxRefusedCalls = 4096;
// A call's metadata, as long as it is open: gRPC's own 8 KiB are too few for the certificates that
// meshes pass on. Over: RESOURCE_EXHAUSTED, with a reason up to twice as many.
inline constexpr std::int32_t kMaxMetadataBytes = 16 << 10;  // --max_metadata_bytes
inline constexpr std::chrono::seconds kMessageTimeout{30};   // until its one message is there
inline constexpr std::chrono::seconds kReaderTimeout{60};    // a write, until the transport has it
inline constexpr std::chrono::seconds kGoodbyeTimeout{1};    // the same of its end, in a shutdown
inline constexpr int kMaxMessageBytes = 2 << 20;             // of a full context: < 1 MB

// Bytes. Owners: gRPC's quota while they arrive, then rpc::RequestBytes. Over: RESOURCE_EXHAUSTED.
inline constexpr std::size_t kMaxArrivingBytes = std::size_t{512} << 20;
inline constexpr std::size_t kLargeRequestBytes = std::size_t{128} << 10;  // some 30k tokens
// A hundred prompts that fill a context of 128k tokens, of which a GPU's KV cache holds a few.
inline constexpr std::size_t kMaxLargeBytes = std::size_t{64} << 20;
inline constexpr std::size_t kMaxSmallBytes = std::size_t{128} << 20;
// What running streams keep, which grows with what their workers send: four bytes a token. Over
// that, new requests of whoever keeps most are refused.
inline constexpr std::size_t kMaxKeptBytes = std::size_t{512} << 20;

// The parts of a request. Owner: rpc::CheckWire, before protobuf makes objects of them, which take
// up to a hundred times what they have on the wire. One too many: INVALID_ARGUMENT.
inline constexpr std::int64_t kMaxMessages = 4096;           // of a chat
inline constexpr std::int64_t kMaxOutputs = 64;              // of a request
inline constexpr std::int64_t kMaxStopStrings = 16;          // of a phase, as the next two
inline constexpr std::int64_t kMaxStopTokenIds = 16;         //
inline constexpr std::int64_t kMaxLogitBiases = 1024;        //
inline constexpr std::int64_t kMaxElements = 1024;           // of any other list
inline constexpr std::int64_t kMaxRequestFields = 64 << 10;  // on the wire, in all

// Messages that a call is to send and its reader has not taken. Owner: rpc::ServerCall; each may
// have one of any size. Full: who makes them waits, the router for its client and so the worker for
// the router.
inline constexpr std::size_t kMaxQueuedBytes = std::size_t{128} << 10;     // of a call, behind it
inline constexpr std::size_t kMaxAllQueuedBytes = std::size_t{256} << 20;  // of all, by shares

// What a worker can hold of a router. Owners: rpc::AttemptContract and rpc::StreamContract for what
// a stream says, fleet::WorkerClient for when; worker.proto has the same as a promise. Over: the
// call ends, INTERNAL (WORKER_PROTOCOL) or UNAVAILABLE (WORKER_SILENT), and the worker gets less
// (fleet::WorkerTrust).
inline constexpr int kMaxAnswerBytes =  // a message: a context of ids of four bytes, and some more
    (4 << 20) + (64 << 10);
inline constexpr std::int32_t kMaxEventTokens = 1024;       // of one event; a worker's has 16
inline constexpr std::int64_t kMaxTextBytesOfToken = 4096;  // on average, since the output began
inline constexpr std::chrono::seconds kSignInterval{5};     // of an honest worker, at most
inline constexpr std::chrono::seconds kMaxSilence{30};      // while the router reads
// With signs of life alone: an honest queue stands still while those before it fill their contexts.
inline constexpr std::chrono::hours kMaxWithoutProgress{6};
// A stream that ran and then stood still for so long, and for so many times what its events took,
// goes on at another worker of the variant while that one has room: who must compute it again and
// again, as others need its blocks, would keep it for hours.
inline constexpr std::chrono::seconds kMaxStandstill{15};
inline constexpr int kStandstillEvents = 20;
inline constexpr std::int64_t kSignBurst = 64;     // of signs of life, or of statuses, and
inline constexpr std::int64_t kSignsASecond = 20;  // so many more; an honest worker's are four, ten
// What a worker gets of a router's requests. Owner: fleet::WorkerTrust. More go to others first, as
// long as there are any.
inline constexpr std::int64_t kMaxProbes = 32;  // that it has not begun with, beyond those it has
inline constexpr std::chrono::seconds kFirstWord{10};     // that one who is heard needs, at most
inline constexpr std::chrono::seconds kFirstDistrust{1};  // then twice as long each time
inline constexpr std::chrono::minutes kLastDistrust{1};
// None at all gets one that is ejected, by so many failures in a row or a single stream that hung,
// for kEjection times how often in a row, kMaxEjections at most; or one whose ranks stand still for
// kMaxStall while there is work. A rank beats in every layer, and no layer takes as long; a hang is
// seen before it is five seconds old, and before the worker ends itself (--step_timeout_s). Such a
// worker is back once it has answered a request of one token, in kProbeTimeout.
inline constexpr int kFailuresToEject = 3;
inline constexpr std::chrono::seconds kEjection{5};
inline constexpr int kMaxEjections = 12;
inline constexpr std::chrono::seconds kMaxStall{4};
inline constexpr std::chrono::seconds kProbeTimeout{10};

// What a router asks of workers for an AnswerNow of a request that is not its own: one call to
// each. Owner: router::Answering. Over, or over the share: RESOURCE_EXHAUSTED. Each ends in time.
inline constexpr std::int64_t kMaxAnswerNowCalls = 4096;  // at once
inline constexpr std::chrono::seconds kAnswerNowTimeout{5};
// Of one stream whose worker does not find it, as it may not have it yet: so many times.
inline constexpr int kMaxAnswerNowTries = 8;

// What a request takes of workers when its own refuses it or is lost: a mass death of workers must
// not become a storm. Owner before it has started: router::RetryBudget, of the process; spent: the
// error is told at once. Owners after that: router::MoveSchedule paces the streams that go on
// elsewhere, of the process; over: they wait. router::Suspicion ends a request that was running on
// several workers in a row when each was lost, so few tokens further: INTERNAL, POISON.
inline constexpr double kRetryShare = 0.2;    // of the requests
inline constexpr double kRetryReserve = 100;  // retries, at once
inline constexpr double kMovesASecond = 256;  // each a prompt and an output to be computed
inline constexpr std::int64_t kMovesAtOnce = 64;
inline constexpr std::int64_t kPoisonTokens = 8;
// Of a stream that waits for a worker: it looks for one so often, and comes back so late to one
// that has refused it or was lost.
inline constexpr std::chrono::seconds kResumeWait{10};  // in all, --resume_wait_s
inline constexpr std::chrono::milliseconds kWorkerSearchInterval{100};
inline constexpr std::chrono::seconds kSecondChance{1};
// Of requests that wait as long to begin, where no worker of the variant is live but one was so
// lately (router::Generation): so many at once, in the process. One more is told UNAVAILABLE at
// once, as is everybody where none was.
inline constexpr std::size_t kMaxWaitingToBegin = 1024;
inline constexpr std::chrono::seconds kMayComeBack{60};

// A place in the router's queue, with the request in it, whose bytes count as its (RequestBytes).
// Owner: admission::DispatchQueue. One too many, or over the share: RESOURCE_EXHAUSTED. Who waits
// leaves it with the call, at its deadline, or when that cannot be met any more. Tenants get tokens
// by weight; within one the order is its own, so that all are served some day: a priority rises by
// one in so long, and who has told no deadline is taken to have that much patience.
inline constexpr std::int64_t kMaxWaiting = 4096;
inline constexpr std::chrono::seconds kPriorityAgeing{30};
inline constexpr std::chrono::minutes kAssumedPatience{10};
// What a tenant may have of a router: limits of its line in the file of --api_keys, divided by
// --routers. Owner: admission::TenantBooks. Over: RESOURCE_EXHAUSTED.
inline constexpr std::int64_t kMaxTenantWeight = 1000;
inline constexpr std::int32_t kMaxRouters = 1000;

// A watch, of a worker's status (StatusBoard) or of health (rpc::HealthService); trusted peers have
// as many again of their own. One too many: RESOURCE_EXHAUSTED.
inline constexpr std::int64_t kMaxStatusWatches = 256;
inline constexpr std::int64_t kMaxHealthWatches = 1024;

// A stream of questions about our protos. Owner: rpc::ReflectionService, which has as many again
// for trusted peers. One too many, or too long a question: RESOURCE_EXHAUSTED. Each has
// kMessageTimeout for its next question, and a few answers of some 50 KB may wait for its reader.
inline constexpr std::int64_t kMaxReflections = 64;
inline constexpr std::size_t kMaxReflectionAnswers = 4;
inline constexpr std::size_t kMaxReflectionBytes = 4 << 10;  // of a question, which is echoed

// A place in a worker's queue, and its text threads (TextPool, PromptQueue). One too many:
// RESOURCE_EXHAUSTED; running streams go first, then peers by turns.
inline constexpr std::int32_t kMaxQueue = 1024;  // --max_queue
inline constexpr std::size_t kLongPromptBytes = std::size_t{32}
                                                << 10;  // one thread takes no longer

// The requests that a worker can have: those that run, those that wait, and as many that wait for a
// text thread. A router gives it no more of its own, but passes it over or refuses with
// RESOURCE_EXHAUSTED: what is over the limit of streams would wait in the connection, unseen.
constexpr std::int64_t MaxRequestsOfWorker(std::int32_t max_queue, std::int32_t max_num_seqs) {
  return 2 * std::int64_t{max_queue} + max_num_seqs;
}
// Of them, those that wait at the worker while all its places are taken: so many that the next is
// there, its prompt read, when a place gets free; the others wait in the router, where their order
// is still open (admission::DispatchQueue).
constexpr std::int64_t LookAhead(std::int32_t max_num_seqs) { return 1 + max_num_seqs / 8; }
// The calls of a worker's server, and of one connection to it, in place of kMaxCalls: whatever
// share of them a router has, it is more than it gives the worker.
constexpr std::int64_t MaxCallsOfWorker(std::int32_t max_queue, std::int32_t max_num_seqs) {
  return std::max(kMaxCalls, 2 * MaxRequestsOfWorker(max_queue, max_num_seqs));
}

// A slot, KV blocks, a step's time. Owner: the scheduler. A stream that is not read (an outbox of
// so many tokens is full) gives them to whoever waits; who then takes fewer than three quarters of
// an outbox in every kReaderTimeout is ended. Of streams that are read the scheduler takes slot and
// blocks from the newest of whoever has more than others who wait (engine::FairShare), once it has
// drawn so many tokens since it got them; or the longer turn, from one who holds a single slot for
// one who holds none. Rows of who had more time than others sit steps out (engine::TimeShare).
inline constexpr std::size_t kOutboxTokens = 64;
inline constexpr std::int32_t kTurnTokens = 32;
inline constexpr std::int32_t kLongTurnTokens = 256;

// A cached KV block that no sequence refers to. Owner: engine::BlockPool, by the peer who had it
// computed. When one must go, whoever has most loses his oldest; but before it any that nobody has
// used for so many steps, some minutes.
inline constexpr std::uint64_t kKeepSteps = 20'000;

// A mark of a prompt that some worker has computed, some 150 bytes of a router, and 450 where each
// is another peer's. Owner: fleet::PrefixIndex. One too many: whoever has most loses his oldest.
inline constexpr std::size_t kMaxPrefixMarks = 1 << 17;

// What an answer's format may cost a worker. Owner: worker/grammar, before it is compiled and while
// it is. Over: INVALID_ARGUMENT.
inline constexpr std::size_t kMaxSchemaBytes = std::size_t{128} << 10;  // the text of a schema
inline constexpr std::size_t kMaxSchemaValues = 8192;                   // of any kind in it
inline constexpr std::size_t kMaxSchemaRules = 4096;     // schemas that differ, once combined
inline constexpr std::size_t kMaxSchemaBranches = 4096;  // of anyOf and oneOf, in all combinations
inline constexpr int kMaxSchemaDepth = 128;              // schemas that name each other in a row
inline constexpr std::size_t kMaxPatternBytes = std::size_t{16} << 10;
inline constexpr int kMaxRegexDepth = 32;                   // of groups
inline constexpr std::int64_t kMaxRegexPositions = 8192;    // characters, repetitions written out
inline constexpr std::size_t kMaxStringStates = 16 << 10;   // of conditions of one string together
inline constexpr std::size_t kMaxChoiceBytes = 4096;        // of one, or of one literal of a schema
inline constexpr std::size_t kMaxGrammarNodes = 256 << 10;  // once compiled
inline constexpr std::size_t kGrammarNodeBytes = 100;       // of one, about
// What it may hold while it is used, by all its requests together: states that were reached and
// masks. Owner: grammar::Grammar. Over: all are forgotten, and found anew.
inline constexpr std::size_t kMaxUsedNodes = 128 << 10;  // beyond those compiled
inline constexpr std::size_t kMaxUsedStates = 4096;      // of 1 KB
inline constexpr std::size_t kMaxKeptMasks = 512;        // of a bit a token, or four bytes if few
// The work of one mask, in alternatives of the states that it meets. Over: of its tokens only those
// of a single byte are allowed, with which every answer can be written.
inline constexpr std::size_t kMaxMaskWork = 64 << 10;
inline constexpr int kMaxAnswerNesting = 64;  // brackets open at once, beyond which none opens
inline constexpr std::size_t kMaxForcedBytes = 256;  // put in at once where there is one way on
inline constexpr std::size_t kMaxRewind = 64;        // tokens that a matcher can take back
// Compiled and kept for who asks the same again. Owner: grammar::GrammarCache. Over: whoever was
// asked for longest ago is forgotten, but for those in use, which their requests hold.
inline constexpr std::size_t kMaxGrammars = 32;
inline constexpr std::size_t kMaxCachedGrammarBytes = std::size_t{64} << 20;  // as compiled

// A connection of /metrics. Owner: rpc::MetricsServer. One too many: the oldest of the address that
// has most ends, with its answer if it has asked.
inline constexpr int kMaxMetricsConnections = 64;
inline constexpr std::chrono::seconds kMetricsTimeout{5};  // of each, in all
inline constexpr std::size_t kMaxHttpHeaderBytes = 8 << 10;

// The time that it takes to render /metrics. Owner: rpc::PageCache. More: the last page is shown.
inline constexpr double kMetricsRenderShare = 0.1;             // of the time
inline constexpr std::chrono::seconds kMetricsRenderBurst{1};  // of rendering, at once

}  // namespace thinkwire

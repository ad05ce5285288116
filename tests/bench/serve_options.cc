#include "tests/bench/serve_options.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/dial_address.h"
#include "common/options.h"
#include "common/status.h"
#include "tests/bench/environment.h"

namespace thinkwire::bench {
namespace {

constexpr int kDefaultPort = 50051;
constexpr std::int32_t kMaxTokens = 1 << 20;
constexpr std::int32_t kMaxStreams = 100000;
constexpr std::int32_t kWeekSeconds = 7 * 86400;

// What is read from the command line in two steps.
struct Texts {
  std::optional<std::int32_t> concurrency;
  std::optional<std::int32_t> requests;
  std::string prompt_tokens;
  std::string max_tokens = "512";
  std::string cancel_after_tokens = "uniform:0,64";
  std::string pids;
};

std::vector<Option> Table(ServeOptions& options, Texts& texts) {
  return {
      {"router", &options.router, "the router: a host, or host:port"},
      {"target", &options.router, nullptr},  // its name of before
      {"tls_ca", &options.tls.ca,
       "PEM file of the CAs that the router's certificate is of; empty: no TLS"},
      {"tls_cert", &options.tls.certificate, "PEM file of a certificate of its own"},
      {"tls_key", &options.tls.key, "PEM file of that one's private key"},
      {"api_key_file", &options.api_key_file, "file with the API key that a router asks for"},
      {"variant", &options.variant,
       "which model; empty: the only one that the router serves, or its choice where there are "
       "more"},
      {"concurrency", &texts.concurrency,
       "closed loop: so many requests are always in flight, or rest as the server that refused "
       "them says, 1 to 100000; unset: 16"},
      {"in_waves", &options.in_waves,
       "closed loop: the next --concurrency requests are sent together when all have ended"},
      {"rate", &options.rate,
       "open loop instead: requests a second, more than 0, at random (Poisson), whether or not "
       "others have ended"},
      {"max_in_flight", &options.max_in_flight,
       "open loop: a request that would be one more is counted as shed, 1 to 100000"},
      {"requests", &texts.requests,
       "how many are sent, warm-up included, 1 or more; unset: 100, or no limit with --duration_s"},
      {"duration_s", &options.duration_s,
       "seconds after the warm-up during which requests are sent; unset: no limit"},
      {"warmup_requests", &options.warmup_requests,
       "the first requests that no figure counts, 0 or more"},
      {"drain_s", &options.drain_s,
       "seconds that the last requests get to end; longer ones are cancelled and have failed"},
      {"prompt_tokens", &texts.prompt_tokens,
       "length of prompts of random token ids; empty: questions that the bundled model answers"},
      {"max_tokens", &texts.max_tokens, "most tokens of an output"},
      {"ignore_eos", &options.ignore_eos, "outputs run to --max_tokens"},
      {"temperature", &options.temperature, "of both phases, 0 to 2; unset: the server's default"},
      {"seed", &options.seed, "of prompts, lengths, arrivals and sampling, 0 or more"},
      {"deadline_ms", &options.deadline_ms, "deadline of each request; 0: none"},
      {"cancel_share", &options.cancel_share, "share of requests to cancel, 0 to 1; unset: 0"},
      {"cancel_after_tokens", &texts.cancel_after_tokens,
       "tokens after which those are cancelled, if they last so long; 0: at once"},
      {"bad_share", &options.bad_share,
       "share of requests that are wrong and must be refused with INVALID_ARGUMENT, 0 to 1; unset: "
       "0"},
      {"goodput_ms", &options.goodput_ms,
       "what completes within this time of being sent counts as goodput; 0: whatever completes"},
      {"pids", &texts.pids,
       "local processes whose memory is watched, a list, and how it grows after the first quarter "
       "of "
       "the time; empty: none"},
      {"json", &options.json, "file for all figures; empty: none"},
      {"help", &options.help, "print this"},
  };
}

absl::Status CheckRange(absl::string_view name, double value, double low, double high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--", name, " is ", value, "; allowed: ", low, " to ", high));
}

absl::Status ReadLengths(absl::string_view name, const std::string& text, std::int32_t lowest,
                         std::optional<LengthDistribution>& lengths) {
  auto parsed = LengthDistribution::Parse(text, lowest, kMaxTokens);
  if (!parsed.ok()) return Annotate(parsed.status(), absl::StrCat("--", name));
  lengths = *parsed;
  return absl::OkStatus();
}

absl::Status ReadPids(const std::string& text, std::vector<std::int32_t>& pids) {
  for (const absl::string_view part : absl::StrSplit(text, ',', absl::SkipEmpty())) {
    std::int32_t pid = 0;
    if (!absl::SimpleAtoi(part, &pid) || pid < 1) {
      return absl::InvalidArgumentError(absl::StrCat("--pids: '", part, "' is no process id"));
    }
    pids.push_back(pid);
  }
  return absl::OkStatus();
}

absl::Status ReadTexts(const Texts& texts, ServeOptions& options) {
  options.concurrency = texts.concurrency.value_or(options.concurrency);
  options.requests = texts.requests.value_or(options.duration_s ? INT32_MAX : options.requests);
  if (!texts.prompt_tokens.empty()) {
    RETURN_IF_ERROR(ReadLengths("prompt_tokens", texts.prompt_tokens, 1, options.prompt_tokens));
  }
  RETURN_IF_ERROR(ReadLengths("max_tokens", texts.max_tokens, 1, options.max_tokens));
  RETURN_IF_ERROR(ReadLengths("cancel_after_tokens", texts.cancel_after_tokens, 0,
                              options.cancel_after_tokens));
  return ReadPids(texts.pids, options.pids);
}

absl::Status CheckRanges(const ServeOptions& options) {
  RETURN_IF_ERROR(CheckRange("concurrency", options.concurrency, 1, kMaxStreams));
  if (options.rate) RETURN_IF_ERROR(CheckRange("rate", *options.rate, 1e-3, 1e5));
  RETURN_IF_ERROR(CheckRange("max_in_flight", options.max_in_flight, 1, kMaxStreams));
  RETURN_IF_ERROR(CheckRange("requests", options.requests, 1, INT32_MAX));
  if (options.duration_s) {
    RETURN_IF_ERROR(CheckRange("duration_s", *options.duration_s, 1, kWeekSeconds));
  }
  RETURN_IF_ERROR(CheckRange("warmup_requests", options.warmup_requests, 0, INT32_MAX));
  RETURN_IF_ERROR(CheckRange("drain_s", options.drain_s, 0, kWeekSeconds));
  if (options.temperature) RETURN_IF_ERROR(CheckRange("temperature", *options.temperature, 0, 2));
  RETURN_IF_ERROR(CheckRange("seed", options.seed, 0, INT32_MAX));
  RETURN_IF_ERROR(CheckRange("deadline_ms", options.deadline_ms, 0, INT32_MAX));
  RETURN_IF_ERROR(CheckRange("cancel_share", options.cancel_share.value_or(0), 0, 1));
  RETURN_IF_ERROR(CheckRange("bad_share", options.bad_share.value_or(0), 0, 1));
  return CheckRange("goodput_ms", options.goodput_ms, 0, INT32_MAX);
}

absl::Status CheckTogether(const ServeOptions& options, const Texts& texts) {
  if (options.rate && (texts.concurrency || options.in_waves)) {
    return absl::InvalidArgumentError(
        "--rate is the open loop; it excludes --concurrency and --in_waves");
  }
  if (options.warmup_requests >= options.requests) {
    return absl::InvalidArgumentError(
        absl::StrCat("--warmup_requests=", options.warmup_requests,
                     " leaves nothing of --requests=", options.requests));
  }
  if (options.in_waves && options.warmup_requests % options.concurrency != 0) {
    return absl::InvalidArgumentError(
        "with --in_waves, --warmup_requests must be a multiple of --concurrency");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ServeOptions> ParseServeOptions(std::span<const char* const> arguments) {
  ServeOptions options;
  Texts texts;
  ASSIGN_OR_RETURN(const std::vector<std::string> rest,
                   ParseOptions(arguments, Table(options, texts), kEnvironment));
  if (!rest.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("'", rest.front(), "' is no option"));
  }
  ASSIGN_OR_RETURN(options.router, DialAddress("router", options.router, kDefaultPort));
  RETURN_IF_ERROR(ReadTexts(texts, options));
  RETURN_IF_ERROR(CheckRanges(options));
  RETURN_IF_ERROR(CheckTogether(options, texts));
  return options;
}

std::string ServeUsage() {
  ServeOptions options;
  Texts texts;
  return absl::StrCat(
      "thinkwire-bench serve: load through router and worker, and what came of it\n\n",
      DescribeOptions(Table(options, texts)), "\nA length is ", LengthDistribution::kForms,
      ".\nExit code: 0; 1 where a stream failed, broke the contract or was not refused as it "
      "should be; 78 a wrong option.\n");
}

}  // namespace thinkwire::bench

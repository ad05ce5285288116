#include "router/config.h"

#include <yaml-cpp/depthguard.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cctype>
#include <initializer_list>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/file.h"
#include "common/input_limits.h"
#include "common/listen_address.h"
#include "common/log.h"
#include "common/options.h"
#include "common/shown_number.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "common/variant_name.h"
#include "router/config_checks.h"
#include "router/escalation.h"
#include "router/security.h"
#include "router/task.h"
#include "router/worker_address.h"

namespace thinkwire::router {
namespace {

constexpr char kEnvironment[] = "THINKWIRE_ROUTER_";
constexpr std::size_t kMaxMessageBytes = 512;
constexpr double kMaxLength = 1 << 20;  // tokens
constexpr double kMaxCostPerMillion = 1e9;

// "file: message", on one line and not long, whatever words of the file the message holds.
absl::Status Wrong(const std::string& source, const std::string& message) {
  return absl::InvalidArgumentError(
      absl::StrCat(source, ": ", ShownLine(message, kMaxMessageBytes)));
}

// The same with the line: "file:line: message".
absl::Status Wrong(const std::string& source, const YAML::Mark& mark, const std::string& message) {
  return Wrong(absl::StrCat(source, ":", std::max(0, mark.line) + 1), message);
}

absl::Status Wrong(const std::string& source, const YAML::Node& node, const std::string& message) {
  return Wrong(source, node.Mark(), message);
}

// `node` is a map with no keys but `allowed`, each at most once.
absl::Status CheckKeys(const std::string& source, const YAML::Node& node, const std::string& what,
                       std::initializer_list<const char*> allowed) {
  const std::string allowed_text = absl::StrJoin(allowed, ", ");
  if (!node.IsMap()) return Wrong(source, node, absl::StrCat(what, " must have: ", allowed_text));
  std::set<std::string> seen;
  for (const auto& entry : node) {
    const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "(not a word)";
    if (std::ranges::find(allowed, key) == allowed.end()) {
      return Wrong(source, entry.first,
                   absl::StrCat("unknown key '", key, "' in ", what, "; allowed: ", allowed_text));
    }
    if (!seen.insert(key).second) {
      return Wrong(source, entry.first, absl::StrCat("key '", key, "' twice in ", what));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadTexts(const std::string& source, const YAML::Node& node, const std::string& key,
                       std::vector<std::string>* out) {
  if (!node) return absl::OkStatus();
  if (!node.IsSequence()) return Wrong(source, node, absl::StrCat(key, " must be a list"));
  for (const YAML::Node& item : node) {
    if (!item.IsScalar() || item.Scalar().empty()) {
      return Wrong(source, item, absl::StrCat(key, " must be a list of words"));
    }
    out->push_back(item.Scalar());
  }
  return absl::OkStatus();
}

bool IsFingerprint(const std::string& word) {
  return !word.empty() && word.size() <= kMaxFingerprintBytes &&
         std::ranges::all_of(
             word, [](char c) { return absl::ascii_isgraph(static_cast<unsigned char>(c)); });
}

std::string TaskNames() {
  return absl::StrJoin(kAllTasks, ", ",
                       [](std::string* out, Task task) { out->append(TaskName(task)); });
}

// A number from `low` on, at most `high`.
absl::Status ReadNumber(const std::string& source, const YAML::Node& node, const std::string& what,
                        double low, double high, double* out) {
  if (!node.IsScalar() || !absl::SimpleAtod(node.Scalar(), out) || !(*out >= low && *out <= high)) {
    return Wrong(
        source, node,
        absl::StrCat(what, " must be a number from ", ShownNumber(low), " to ", ShownNumber(high)));
  }
  return absl::OkStatus();
}

absl::Status ReadWhole(const std::string& source, const YAML::Node& node, const std::string& what,
                       std::int32_t low, std::int32_t high, std::int32_t* out) {
  if (!node.IsScalar() || !absl::SimpleAtoi(node.Scalar(), out) || *out < low || *out > high) {
    return Wrong(source, node,
                 absl::StrCat(what, " must be a whole number from ", low, " to ", high));
  }
  return absl::OkStatus();
}

// A map from tasks, each of which `read` takes.
template <class Read>
absl::Status ReadByTask(const std::string& source, const YAML::Node& node, const std::string& key,
                        Read read) {
  if (!node) return absl::OkStatus();
  if (!node.IsMap()) {
    return Wrong(source, node, absl::StrCat(key, " must be a map from tasks: ", TaskNames()));
  }
  for (const auto& entry : node) {
    const auto task = entry.first.IsScalar() ? TaskByName(entry.first.Scalar()) : std::nullopt;
    if (!task) {
      return Wrong(source, entry.first,
                   absl::StrCat(key, " has an unknown task; allowed: ", TaskNames()));
    }
    RETURN_IF_ERROR(read(*task, entry.second));
  }
  return absl::OkStatus();
}

absl::Status ReadReasoning(const std::string& source, const YAML::Node& node,
                           LengthQuantiles* reasoning) {
  RETURN_IF_ERROR(CheckKeys(source, node, "reasoning_tokens of a task", {"p50", "p90"}));
  if (!node["p50"] || !node["p90"]) {
    return Wrong(source, node, "reasoning_tokens of a task needs p50 and p90");
  }
  RETURN_IF_ERROR(ReadNumber(source, node["p50"], "p50", 1, kMaxLength, &reasoning->p50));
  return ReadNumber(source, node["p90"], "p90", reasoning->p50, kMaxLength, &reasoning->p90);
}

// What is not said is as KnownTraits has it for the name.
absl::Status ReadTraits(const std::string& source, const YAML::Node& node, VariantConfig* variant) {
  VariantTraits& traits = variant->traits;
  traits = KnownTraits(variant->name);
  RETURN_IF_ERROR(
      ReadByTask(source, node["quality"], "quality", [&](Task task, const YAML::Node& value) {
        return ReadNumber(source, value, "quality", 0, 1, &traits.quality[task]);
      }));
  if (const YAML::Node cost = node["cost_per_million_tokens"]) {
    RETURN_IF_ERROR(ReadNumber(source, cost, "cost_per_million_tokens", 0, kMaxCostPerMillion,
                               &traits.cost_per_million));
  }
  if (const YAML::Node context = node["context_tokens"]) {
    RETURN_IF_ERROR(ReadWhole(source, context, "context_tokens", kMinModelLen, kMaxModelLen,
                              &traits.context_tokens));
  }
  return ReadByTask(source, node["reasoning_tokens"], "reasoning_tokens",
                    [&](Task task, const YAML::Node& value) {
                      return ReadReasoning(source, value, &traits.reasoning[task]);
                    });
}

absl::Status ReadTasks(const std::string& source, const YAML::Node& node, VariantConfig* variant) {
  std::vector<std::string> names;
  RETURN_IF_ERROR(ReadTexts(source, node, "tasks", &names));
  for (const std::string& name : names) {
    const auto task = TaskByName(name);
    if (!task) {
      return Wrong(source, node, absl::StrCat("unknown task '", name, "'; allowed: ", TaskNames()));
    }
    variant->tasks.push_back(*task);
  }
  return absl::OkStatus();
}

absl::Status ReadWorkers(const std::string& source, const YAML::Node& node,
                         VariantConfig* variant) {
  RETURN_IF_ERROR(ReadTexts(source, node["workers"], "workers", &variant->workers));
  if (variant->workers.empty() || variant->workers.size() > kMaxWorkersOfVariant) {
    return Wrong(
        source, node,
        absl::StrCat("variant ", variant->name, " needs 1 to ", kMaxWorkersOfVariant, " workers"));
  }
  for (const std::string& address : variant->workers) {
    if (!IsWorkerAddress(address)) {
      return Wrong(source, node["workers"],
                   absl::StrCat("worker '", address, "' is not host:port"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<VariantConfig> ReadVariant(const std::string& source, const YAML::Node& node) {
  RETURN_IF_ERROR(CheckKeys(source, node, "a variant",
                            {"name", "aliases", "workers", "tasks", "max_prompt_bytes",
                             "require_fingerprint", "escalate_to", "reasoning_field", "quality",
                             "cost_per_million_tokens", "context_tokens", "reasoning_tokens"}));
  VariantConfig variant;
  if (!node["name"] || !node["name"].IsScalar()) {
    return Wrong(source, node, "a variant needs a name");
  }
  variant.name = node["name"].Scalar();
  if (!IsVariantName(variant.name)) {
    return Wrong(source, node["name"],
                 absl::StrCat("name '", variant.name, "' must be ", kVariantNameRule));
  }
  RETURN_IF_ERROR(ReadTraits(source, node, &variant));
  RETURN_IF_ERROR(ReadTexts(source, node["aliases"], "aliases", &variant.aliases));
  if (variant.aliases.size() > kMaxAliasesOfVariant) {
    return Wrong(source, node["aliases"],
                 absl::StrCat("variant ", variant.name, " has more than ", kMaxAliasesOfVariant,
                              " aliases"));
  }
  for (const std::string& alias : variant.aliases) {
    if (alias.size() > kMaxAliasBytes || alias.find('*') != alias.npos) {
      return Wrong(source, node["aliases"],
                   absl::StrCat("alias '", alias, "' must have at most ", kMaxAliasBytes,
                                " bytes and no '*'"));
    }
  }
  RETURN_IF_ERROR(ReadWorkers(source, node, &variant));
  RETURN_IF_ERROR(ReadTasks(source, node["tasks"], &variant));
  if (const YAML::Node limit = node["max_prompt_bytes"]) {
    if (!limit.IsScalar() || !absl::SimpleAtoi(limit.Scalar(), &variant.max_prompt_bytes) ||
        variant.max_prompt_bytes < 0) {
      return Wrong(source, limit, "max_prompt_bytes must be a whole number of 0 or more");
    }
  }
  if (const YAML::Node fingerprint = node["require_fingerprint"]) {
    if (!fingerprint.IsScalar() || !IsFingerprint(fingerprint.Scalar())) {
      return Wrong(source, fingerprint,
                   absl::StrCat("require_fingerprint must be one word of 1 to ",
                                kMaxFingerprintBytes, " printable characters"));
    }
    variant.require_fingerprint = fingerprint.Scalar();
  }
  if (const YAML::Node better = node["escalate_to"]) {
    if (!better.IsScalar() || better.Scalar().empty()) {
      return Wrong(source, better, "escalate_to must be the name of a variant");
    }
    variant.escalate_to = better.Scalar();
  }
  if (const YAML::Node field = node["reasoning_field"]) {
    if (!field.IsScalar() ||
        std::ranges::find(kReasoningFields, field.Scalar()) == kReasoningFields.end()) {
      return Wrong(
          source, field,
          absl::StrCat("reasoning_field must be one of ", absl::StrJoin(kReasoningFields, ", ")));
    }
    variant.reasoning_field = field.Scalar();
  }
  return variant;
}

absl::StatusOr<RouterConfig> ReadConfig(const std::string& source, const YAML::Node& root) {
  RETURN_IF_ERROR(CheckKeys(source, root, "the configuration", {"variants"}));
  const YAML::Node variants = root["variants"];
  if (!variants || !variants.IsSequence() || variants.size() == 0 ||
      variants.size() > kMaxVariants) {
    return Wrong(source, root, absl::StrCat("variants must be a list of 1 to ", kMaxVariants));
  }
  RouterConfig config;
  for (const YAML::Node& node : variants) {
    ASSIGN_OR_RETURN(VariantConfig variant, ReadVariant(source, node));
    config.variants.push_back(std::move(variant));
  }
  for (const absl::Status& status :
       {CheckUnique(config.variants), CheckEscalations(config.variants)}) {
    if (!status.ok()) return Wrong(source, std::string(status.message()));
  }
  const auto add = [](std::size_t sum, const VariantConfig& v) { return sum + v.workers.size(); };
  const std::size_t workers =
      std::accumulate(config.variants.begin(), config.variants.end(), std::size_t{0}, add);
  if (workers > kMaxWorkers) {
    return Wrong(source, variants, absl::StrCat(workers, " workers in all; at most ", kMaxWorkers));
  }
  return config;
}

std::vector<Option> Options(RouterOptions& options) {
  std::vector<Option> all = {
      {"config", &options.config,
       "YAML file of variants: name, aliases, workers, tasks, max_prompt_bytes, "
       "require_fingerprint, escalate_to, reasoning_field, quality, cost_per_million_tokens, "
       "context_tokens, "
       "reasoning_tokens"},
      {"listen", &options.listen, "host:port of the gRPC service; port 0: any free one"},
      {"insecure_listen", &options.insecure_listen,
       "let --listen and --http_listen be addresses that other machines reach, without TLS"},
      {"metrics_listen", &options.metrics_listen, "host:port of /metrics; empty: none"},
      {"max_connections", &options.max_connections,
       "open connections of the gRPC port; for one more an idle one is ended, or it is reset",
       Between(1, 100'000)},
      {"max_metadata_bytes", &options.max_metadata_bytes,
       "bytes of a call's metadata, 32 an entry among them; a call with more is refused",
       Between(1024, 1 << 20)},
      {"tls_cert", &options.tls.certificate,
       "PEM file of the certificate that clients see, and those that vouch for it; empty: no TLS"},
      {"tls_key", &options.tls.key, "PEM file of its private key"},
      {"tls_client_ca", &options.tls.ca,
       "PEM file of CAs: clients need a certificate of one of them; empty: they need none"},
      {"worker_tls_ca", &options.worker_tls.ca,
       "PEM file of the CAs that workers' certificates are of; empty: no TLS to workers"},
      {"worker_tls_cert", &options.worker_tls.certificate,
       "PEM file of the certificate that workers see, for their --tls_client_ca"},
      {"worker_tls_key", &options.worker_tls.key, "PEM file of its private key"},
      {"worker_tls_name", &options.worker_tls_name,
       "the name that all workers' certificates have; empty: each has that of its address"},
      {"api_keys", &options.api_keys,
       "file of tenants, a line each: name sha256:HEX… certificate:NAME… limit=N…; empty: whoever "
       "calls is "
       "served"},
      {"routers", &options.routers,
       "how many routers serve the same tenants: each allows its part of their limits, rounded up",
       Between(1, kMaxRouters)},
      {"trusted_peers", &options.trusted_peers,
       "addresses and prefixes, with commas, of gateways and routers: no share limits them"},
      {"drain_timeout_s", &options.drain_timeout_s,
       "seconds that running requests get to finish after SIGTERM", Between(0, 86400)},
      {"resume_wait_s", &options.resume_wait_s,
       "seconds that a stream whose worker is gone waits for one to go on with it",
       Between(0, 86400)},
      {"log_level", &options.log_level, "what is logged: records of this level and above",
       OneOf(kLogLevels)},
      {"reflection", &options.reflection,
       "serve gRPC reflection on other addresses than loopback too"},
      {"share_prefixes", &options.share_prefixes,
       "share cached prompt blocks between clients, so that one can tell what others have asked"},
      {"cache_salt_key_file", &options.cache_salt_key_file,
       "file of 16 to 1024 secret bytes, the same for all routers of the same workers, by which "
       "cached prompt blocks are kept apart; empty: random ones, of this router alone"},
      {"check_config", &options.check_config, "check options and configuration, serve nothing"},
      {"dry_run", &options.dry_run,
       "JSON lines of recorded requests: print what is decided for each and why, serve nothing"},
      {"help", &options.help, "print this page"},
      {"version", &options.version, "print version and commit"},
  };
  AddHttpOptions(options.http, all);
  return all;
}

}  // namespace

absl::StatusOr<RouterConfig> ParseConfig(const std::string& yaml, const std::string& source) {
  try {
    return ReadConfig(source, YAML::Load(yaml));
  } catch (const YAML::DeepRecursion& error) {
    return Wrong(source, error.mark, "nests too deep");
  } catch (const YAML::Exception& error) {
    return Wrong(source, error.mark, error.msg);
  }
}

absl::StatusOr<RouterConfig> LoadConfig(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxRouterConfigBytes));
  return ParseConfig(text, path);
}

absl::StatusOr<RouterOptions> ParseArguments(std::span<const char* const> arguments) {
  RouterOptions options;
  ASSIGN_OR_RETURN(const auto rest, ParseOptions(arguments, Options(options), kEnvironment));
  if (!rest.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("'", rest[0], "' is not an option"));
  }
  if (options.help || options.version) return options;
  if (options.config.empty()) {
    return absl::InvalidArgumentError("--config is missing: the YAML file of variants");
  }
  if (options.share_prefixes && !options.cache_salt_key_file.empty()) {
    return absl::InvalidArgumentError(
        "--share_prefixes and --cache_salt_key_file exclude each other");
  }
  RETURN_IF_ERROR(CheckSecurityOptions(options));
  if (!options.metrics_listen.empty()) {
    RETURN_IF_ERROR(CheckListenAddress("metrics_listen", options.metrics_listen));
  }
  return options;
}

std::string Usage() {
  RouterOptions defaults;
  return absl::StrCat(
      "thinkwire-router: sends each request to a worker of the right variant.\n\n"
      "  thinkwire-router --config FILE [--option=value ...]\n\n",
      DescribeOptions(Options(defaults)), "\n", DescribeEnvironment(kEnvironment));
}

void LogSettings(const RouterOptions& options) {
  RouterOptions copy = options;  // the table wants something to write to
  LogOptions(Options(copy));
}

}  // namespace thinkwire::router

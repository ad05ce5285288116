#include "worker/config.h"

#include <algorithm>
#include <set>
#include <type_traits>
#include <variant>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/status.h"

namespace thinkwire::worker {
namespace {

using Field =
    std::variant<std::string WorkerConfig::*, bool WorkerConfig::*, std::int32_t WorkerConfig::*,
                 std::int64_t WorkerConfig::*, double WorkerConfig::*>;

struct Option {
  const char* name;
  Field field;
  const char* help;     // meaning, and what 0 or empty means; null: not on the help page
  const char* choices;  // of a string, separated by '|'; empty: any
  double min = 0;       // of a number
  double max = 0;
};

constexpr double kMaxInt32 = 2147483647.0;
constexpr double kMaxBytes = 9007199254740992.0;  // 2^53: exact as a double

using C = WorkerConfig;
const Option kOptions[] = {
    {"model", &C::model, "folder with config.json, tokenizer.json and the weights", ""},
    {"served_model_name", &C::served_model_name, "the variant's name; empty: the folder's name",
     ""},
    {"device", &C::device, "where the model runs", "auto|cpu|cuda"},
    {"dtype", &C::dtype, "of weights and KV cache; auto is bfloat16", "auto|bfloat16"},
    {"quantization", &C::quantization, "of the weights", "none"},
    {"random_weights", &C::random_weights, "seeded noise in config.json's shapes for weights", ""},
    {"seed", &C::seed, "of the random weights", "", 0, kMaxBytes},
    {"tensor_parallel_size", &C::tensor_parallel_size, "ranks that share the model", "", 1, 64},
    {"max_model_len", &C::max_model_len, "tokens of prompt and output; 0: the model's limit", "", 0,
     kMaxInt32},
    {"max_num_seqs", &C::max_num_seqs, "sequences that run at once; 0: 16 on CPU, 128 on CUDA", "",
     0, 4096},
    {"max_num_batched_tokens", &C::max_num_batched_tokens,
     "input tokens of one step; 0: 512 on CPU, 4096 on CUDA", "", 0, 65536},
    {"max_queue", &C::max_queue, "requests that may wait; one more is refused", "", 1, 1000000},
    {"block_size", &C::block_size, "tokens of one KV block, a multiple of 16", "", 16, 1024},
    {"kv_cache_memory_bytes", &C::kv_cache_memory_bytes,
     "KV cache over all ranks; 0: chosen from free memory", "", 0, kMaxBytes},
    {"gpu_memory_utilization", &C::gpu_memory_utilization,
     "share of a GPU's memory that may be taken", "", 0.05, 1},
    {"enable_prefix_caching", &C::enable_prefix_caching,
     "keep KV blocks for requests that begin like earlier ones", ""},
    {"cpu_threads", &C::cpu_threads, "compute threads over all ranks; 0: one a core", "", 0, 1024},
    {"text_threads", &C::text_threads, "threads that tokenise and detokenise", "", 1, 256},
    {"listen", &C::listen, "host:port of the gRPC service; port 0: any free one", ""},
    {"metrics_listen", &C::metrics_listen, "host:port of /metrics; empty: none", ""},
    {"max_connections", &C::max_connections, "open connections of the gRPC port; one more is reset",
     "", 1, 100'000},
    {"drain_timeout_s", &C::drain_timeout_s,
     "seconds that running requests get to finish after SIGTERM", "", 0, 86400},
    {"step_timeout_s", &C::step_timeout_s,
     "seconds within which a worker that makes no progress, not even by a layer, has ended", "", 2,
     86400},
    {"tokenize", &C::tokenize,
     "read lines {\"text\": …}, print lines {\"ids\": […]}, serve nothing", ""},
    {"as_user_text", &C::as_user_text, "with --tokenize: as the text of a message", ""},
    {"check_config", &C::check_config, "check options, checkpoint and tokenizer, serve nothing",
     ""},
    {"help", &C::help, "print this page", ""},
    {"fault", &C::fault, nullptr, ""},
};

const Option* FindOption(const std::string& name) {
  const auto* found =
      std::ranges::find_if(kOptions, [&](const Option& option) { return option.name == name; });
  return found == std::end(kOptions) ? nullptr : found;
}

std::string NumberText(double number) { return absl::StrFormat("%.16g", number); }

absl::Status Bad(const Option& option, const std::string& value, const std::string& wanted) {
  return absl::InvalidArgumentError(
      absl::StrCat("--", option.name, ": '", value, "' is not ", wanted));
}

template <class T>
absl::Status SetNumber(const Option& option, const std::string& value, T* field) {
  const std::string wanted =
      absl::StrCat(std::is_integral_v<T> ? "a whole number" : "a number", " from ",
                   NumberText(option.min), " to ", NumberText(option.max));
  T number = 0;
  bool parsed = false;
  if constexpr (std::is_integral_v<T>) {
    parsed = absl::SimpleAtoi(value, &number);
  } else {
    parsed = absl::SimpleAtod(value, &number);
  }
  const double comparable = static_cast<double>(number);
  if (!parsed || !(comparable >= option.min && comparable <= option.max)) {
    return Bad(option, value, wanted);
  }
  *field = number;
  return absl::OkStatus();
}

absl::Status SetField(const Option& option, const std::string& value, std::string* field) {
  const std::vector<std::string> choices = absl::StrSplit(option.choices, '|', absl::SkipEmpty());
  if (!choices.empty() && std::ranges::find(choices, value) == choices.end()) {
    return Bad(option, value, absl::StrCat("supported: ", absl::StrJoin(choices, ", ")));
  }
  *field = value;
  return absl::OkStatus();
}

absl::Status SetField(const Option& option, const std::string& value, bool* field) {
  if (value != "true" && value != "false" && value != "1" && value != "0") {
    return Bad(option, value, "true or false");
  }
  *field = value == "true" || value == "1";
  return absl::OkStatus();
}

template <class T>
absl::Status SetField(const Option& option, const std::string& value, T* field) {
  return SetNumber(option, value, field);
}

std::string FieldText(const WorkerConfig& config, const Option& option) {
  return std::visit(
      [&](auto member) -> std::string {
        const auto& value = config.*member;
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, std::string>) return value;
        if constexpr (std::is_same_v<T, bool>) return value ? "true" : "false";
        if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) {
          return absl::StrCat(value);
        }
      },
      option.field);
}

std::string RangeText(const Option& option) {
  if (*option.choices != '\0') return absl::StrCat(" (", option.choices, ")");
  if (option.max > option.min) {
    return absl::StrCat(" [", NumberText(option.min), "..", NumberText(option.max), "]");
  }
  return "";
}

}  // namespace

absl::StatusOr<WorkerConfig> ParseArguments(std::span<const char* const> arguments) {
  WorkerConfig config;
  std::set<std::string> seen;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string argument = arguments[i];
    if (!argument.starts_with("--") || argument.size() == 2) {
      return absl::InvalidArgumentError(absl::StrCat("'", argument, "' is not an option"));
    }
    const std::size_t equals = argument.find('=');
    std::string name = argument.substr(2, equals == argument.npos ? equals : equals - 2);
    std::ranges::replace(name, '-', '_');
    const Option* option = FindOption(name);
    if (option == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("unknown option ", argument.substr(0, equals), " (see --help)"));
    }
    if (!seen.insert(name).second) {
      return absl::InvalidArgumentError(absl::StrCat("--", name, " is given twice"));
    }
    std::string value = "true";
    if (equals != argument.npos) {
      value = argument.substr(equals + 1);
    } else if (!std::holds_alternative<bool WorkerConfig::*>(option->field)) {
      if (++i == arguments.size()) {
        return absl::InvalidArgumentError(absl::StrCat("--", name, " needs a value"));
      }
      value = arguments[i];
    }
    RETURN_IF_ERROR(std::visit(
        [&](auto member) { return SetField(*option, value, &(config.*member)); }, option->field));
  }
  return config;
}

absl::Status Validate(const WorkerConfig& config) {
  if (config.model.empty()) {
    return absl::InvalidArgumentError("--model is missing: the folder of the checkpoint");
  }
  if (config.as_user_text && !config.tokenize) {
    return absl::InvalidArgumentError("--as_user_text is only for --tokenize");
  }
  if (config.tokenize && config.check_config) {
    return absl::InvalidArgumentError("--tokenize and --check_config exclude each other");
  }
  if (config.listen.empty()) {
    return absl::InvalidArgumentError("--listen is empty: it needs host:port");
  }
  return absl::OkStatus();
}

std::string Usage() {
  const WorkerConfig defaults;
  std::string text =
      "thinkwire-worker: serves one reasoning model over gRPC.\n\n"
      "  thinkwire-worker --model DIR [--option=value …]\n\n";
  for (const Option& option : kOptions) {
    if (option.help == nullptr) continue;
    const std::string value = FieldText(defaults, option);
    absl::StrAppend(&text, "  --", option.name, value.empty() ? "" : "=", value, "\n      ",
                    option.help, RangeText(option), "\n");
  }
  return text;
}

std::string ToString(const WorkerConfig& config) {
  return absl::StrJoin(kOptions, " ", [&](std::string* out, const Option& option) {
    absl::StrAppend(out, option.name, "=", FieldText(config, option));
  });
}

}  // namespace thinkwire::worker

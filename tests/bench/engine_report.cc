#include "tests/bench/engine_report.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"
#include "worker/model/memory_text.h"

namespace thinkwire::bench {
namespace {

using nlohmann::json;

bool IsDecode(const Figure& figure) { return figure.kind == FigureKind::kDecode; }

json ToJson(const Spread& spread) {
  return {{"count", spread.count}, {"median", spread.median}, {"p99", spread.p99}};
}

json ToJson(const Figure& figure) {
  json object = {{"kind", IsDecode(figure) ? "decode" : "prefill"},
                 {"sequences", figure.sequences},
                 {"prompt_tokens", figure.prompt_tokens},
                 {"output_tokens", figure.output_tokens},
                 {"generated_tokens", figure.generated_tokens},
                 {"decoded_tokens", figure.decoded_tokens},
                 {"tokens_per_second", figure.tokens_per_second},
                 {"lowest_tokens_per_second", figure.lowest},
                 {"highest_tokens_per_second", figure.highest},
                 {"first_token_seconds", figure.first_token_seconds},
                 {IsDecode(figure) ? "bytes_per_step" : "flops", figure.work},
                 {"roof_share", figure.roof_share}};
  if (IsDecode(figure)) {
    object["step_seconds"] = ToJson(figure.step_seconds);
    object["turn_seconds"] = ToJson(figure.turn_seconds);
  }
  if (figure.gap_seconds.count > 0) object["gap_seconds"] = ToJson(figure.gap_seconds);
  return object;
}

// "batch 16", "batch 1 at 8192", "prefill 2 x 4096"
std::string NameOf(const Figure& figure) {
  if (IsDecode(figure)) {
    return absl::StrFormat("batch %d at %d", figure.sequences, figure.prompt_tokens);
  }
  return absl::StrFormat("prefill %d x %d", figure.sequences, figure.prompt_tokens);
}

std::string Milliseconds(double seconds) { return absl::StrFormat("%.2f ms", seconds * 1e3); }

// Empty where nothing was stamped.
std::string Microseconds(const Spread& spread) {
  return spread.count == 0 ? "" : absl::StrFormat("%.1f us", spread.p99 * 1e6);
}

constexpr char kColumns[] = "%-20s %10s %19s %9s %12s %12s %12s %11s %11s\n";

}  // namespace

std::string DescribeRun(const EngineReport& report) {
  const worker::model::ModelInfo& info = report.info;
  return absl::StrFormat(
      "%s (%s weights) on %s\nfingerprint %s\n"
      "roofs: %.1f GB/s, %.2f TFLOP/s (%s)\n"
      "%s\n%.2f GB read a step, %d KV bytes a token, KV cache of %d tokens, %d tokens a step; "
      "loaded in %.1f s, of them %.2f s to warm up and record steps\n",
      report.model, info.stored_weights, info.device, info.fingerprint,
      report.roofs.read_bytes_per_second / 1e9, report.roofs.matrix_flops_per_second / 1e12,
      report.roofs.how, worker::model::MemoryText(info, report.limits),
      static_cast<double>(info.weight_bytes_per_token) / 1e9, report.kv_bytes_per_token,
      info.kv_cache_tokens, report.limits.max_num_batched_tokens, report.load_seconds,
      info.warm_up_seconds);
}

std::string TableHead() {
  return absl::StrFormat(kColumns, "figure", "tok/s", "lowest-highest", "of roof", "first token",
                         "step median", "step p99", "turn p99", "gap p99");
}

std::string TableLine(const Figure& figure) {
  const bool steps = figure.step_seconds.count > 0;
  return absl::StrFormat(
      kColumns, NameOf(figure), absl::StrFormat("%.1f", figure.tokens_per_second),
      absl::StrFormat("%.1f-%.1f", figure.lowest, figure.highest),
      absl::StrFormat("%.1f %%", 100 * figure.roof_share), Milliseconds(figure.first_token_seconds),
      steps ? Milliseconds(figure.step_seconds.median) : "",
      steps ? Milliseconds(figure.step_seconds.p99) : "", Microseconds(figure.turn_seconds),
      Microseconds(figure.gap_seconds));
}

std::string ToJson(const EngineReport& report) {
  json figures = json::array();
  for (const Figure& figure : report.figures) figures.push_back(ToJson(figure));
  const worker::model::ModelInfo& info = report.info;
  const json object = {{"command", "engine"},
                       {"model", report.model},
                       {"stored_weights", info.stored_weights},
                       {"device", info.device},
                       {"fingerprint", info.fingerprint},
                       {"parameters", info.parameters},
                       {"weight_bytes", info.weight_bytes},
                       {"weight_bytes_per_token", info.weight_bytes_per_token},
                       {"kv_bytes_per_token", report.kv_bytes_per_token},
                       {"kv_cache_tokens", info.kv_cache_tokens},
                       {"max_num_batched_tokens", report.limits.max_num_batched_tokens},
                       {"max_num_seqs", report.limits.max_num_seqs},
                       {"load_seconds", report.load_seconds},
                       {"warm_up_seconds", info.warm_up_seconds},
                       {"roofs",
                        {{"how", report.roofs.how},
                         {"read_bytes_per_second", report.roofs.read_bytes_per_second},
                         {"matrix_flops_per_second", report.roofs.matrix_flops_per_second}}},
                       {"figures", figures}};
  return object.dump(2);
}

}  // namespace thinkwire::bench

#include "tests/bench/serve_command.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/log.h"
#include "common/rpc/channel.h"
#include "common/rpc/client_security.h"
#include "common/rpc/status_details.h"
#include "common/status.h"
#include "tests/bench/serve_load.h"
#include "tests/bench/serve_memory.h"
#include "tests/bench/serve_options.h"
#include "tests/bench/serve_report.h"
#include "tests/bench/serve_summary.h"
#include "tests/bench/serve_workload.h"
#include "tests/bench/text_file.h"
#include "thinkwire/v1/reasoning.grpc.pb.h"

namespace thinkwire::bench {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitConfig = 78;  // EX_CONFIG

constexpr std::chrono::seconds kConnectPatience{3};
// Between two lines of progress where they stay.
constexpr double kLineSeconds = 10;

int Fail(int code, const absl::Status& status) {
  std::fprintf(stderr, "thinkwire-bench: %s\n", std::string(status.message()).c_str());
  return code;
}

// Which variant to ask for: the one that is wanted, or the only one there is; empty: the router
// shall choose, which it cannot for prompts of ids.
absl::StatusOr<std::string> ChooseVariant(const ServeOptions& options,
                                          v1::ReasoningService::Stub& stub) {
  if (!options.variant.empty()) return options.variant;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kConnectPatience);
  v1::ListVariantsResponse response;
  RETURN_IF_ERROR(rpc::FromGrpc(stub.ListVariants(&context, {}, &response)));
  if (response.variants_size() == 1) return response.variants(0).name();
  if (!options.prompt_tokens) return "";
  const auto name = [](std::string* out, const v1::Variant& variant) {
    out->append(variant.name());
  };
  return absl::InvalidArgumentError(absl::StrCat(
      "--prompt_tokens needs --variant, as ids mean something for one vocabulary only; "
      "the router serves ",
      absl::StrJoin(response.variants(), ", ", name)));
}

// Shows on stderr how the load is going: on a terminal a line that changes, else a line now and
// then.
class ProgressLine {
 public:
  void Show(const LoadProgress& progress) {
    if (!terminal_ && !progress.over && progress.seconds < shown_ + kLineSeconds) return;
    const double seconds = progress.seconds - shown_;
    const double rate = seconds > 0 ? static_cast<double>(progress.tokens - tokens_) / seconds : 0;
    std::fprintf(stderr, terminal_ ? "\r\033[K%s" : "%s\n",
                 DescribeProgress(progress, rate).c_str());
    shown_ = progress.seconds;
    tokens_ = progress.tokens;
    if (terminal_ && progress.over) std::fputs("\n", stderr);
  }

 private:
  const bool terminal_ = isatty(STDERR_FILENO) != 0;
  double shown_ = 0;         // when
  std::int64_t tokens_ = 0;  // by then
};

absl::StatusOr<int> Run(const ServeOptions& options) {
  ASSIGN_OR_RETURN(const rpc::ChannelSecurity security,
                   rpc::MakeClientSecurity(options.tls, options.api_key_file, options.router));
  const auto channel = rpc::MakeChannel(options.router, rpc::ProxyFor(options.router), security);
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + kConnectPatience)) {
    return absl::UnavailableError(absl::StrCat("there is no router at ", options.router));
  }
  const auto stub = v1::ReasoningService::NewStub(channel);
  ASSIGN_OR_RETURN(const std::string variant, ChooseVariant(options, *stub));

  MemoryWatch memory(options.pids);
  ProgressLine line;
  const LoadResult load =
      RunLoad(options, Workload(options, variant), *stub, [&](const LoadProgress& progress) {
        line.Show(progress);
        memory.LookAt(progress.seconds);
      });
  const Summary summary = Summarize(load.records, load.shed, options);
  const ServeReport report = {.options = options,
                              .variant = variant,
                              .load = load,
                              .summary = summary,
                              .memory = memory.processes()};
  std::fputs(DescribeReport(report).c_str(), stdout);
  if (!options.json.empty()) RETURN_IF_ERROR(WriteTextFile(options.json, ToJson(report)));
  return summary.failed() == 0 && summary.violations == 0 ? 0 : kExitFailure;
}

}  // namespace

int RunServeCommand(std::span<const char* const> arguments) {
  const auto options = ParseServeOptions(arguments);
  if (!options.ok()) return Fail(kExitConfig, options.status());
  if (options->help) {
    std::fputs(ServeUsage().c_str(), stdout);
    return 0;
  }
  SetLogLevel(LogLevel::kError);  // gRPC's own words about connections
  const auto code = Run(*options);
  return code.ok() ? *code : Fail(kExitFailure, code.status());
}

}  // namespace thinkwire::bench

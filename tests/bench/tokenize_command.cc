#include "tests/bench/tokenize_command.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/file.h"
#include "common/options.h"
#include "common/status.h"
#include "common/utf8.h"
#include "tests/bench/environment.h"
#include "tests/bench/statistics.h"
#include "worker/model/checkpoint/model_folder.h"
#include "worker/text/tokenizer.h"

namespace thinkwire::bench {
namespace {

using worker::text::Tokenizer;

constexpr int kExitFailure = 1;
constexpr int kExitConfig = 78;  // EX_CONFIG
constexpr std::size_t kMaxTextBytes = std::size_t{1} << 30;

struct Options {
  std::string model;
  std::string text;
  std::int32_t document_bytes = 16384;
  std::int32_t hostile_bytes = 1 << 20;
  std::int32_t repetitions = 5;
  bool help = false;
};

std::vector<Option> Table(Options& options) {
  return {
      {"model", &options.model, "folder with a tokenizer.json"},
      {"text", &options.text, "files in UTF-8 to encode, a list; empty: none"},
      {"document_bytes", &options.document_bytes,
       "a file is encoded in pieces of about so many bytes, one call each", AtLeast(1)},
      {"hostile_bytes", &options.hostile_bytes, "bytes of each input made to be slow; 0: none",
       Between(0, 64 << 20)},
      {"repetitions", &options.repetitions, "of each figure; the median counts", AtLeast(1)},
      {"help", &options.help, "print this"},
  };
}

absl::StatusOr<Options> Parse(std::span<const char* const> arguments) {
  Options options;
  ASSIGN_OR_RETURN(const std::vector<std::string> rest,
                   ParseOptions(arguments, Table(options), kEnvironment));
  if (options.help) return options;
  if (!rest.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("'", rest.front(), "' is no option"));
  }
  if (options.model.empty()) return absl::InvalidArgumentError("--model is not given");
  RETURN_IF_ERROR(worker::model::CheckModelFolder(options.model));
  return options;
}

// Seconds of processor time: what other processes take of the core is not ours.
double Seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// The file in documents, cut where characters begin.
absl::StatusOr<std::vector<std::string>> ReadDocuments(const std::string& path, size_t bytes) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxTextBytes));
  if (text.empty()) return absl::InvalidArgumentError(path + ": is empty");
  if (!IsValidUtf8(text)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not UTF-8"));
  }
  std::vector<std::string> documents;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(begin + bytes, text.size());
    while (end < text.size() && (static_cast<std::uint8_t>(text[end]) & 0xC0) == 0x80) ++end;
    documents.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return documents;
}

struct Encoded {
  size_t num_bytes = 0;
  size_t num_tokens = 0;
  std::vector<double> seconds;  // of each repetition
};

Encoded EncodeAll(const Tokenizer& tokenizer, const std::vector<std::string>& documents,
                  int repetitions) {
  Encoded encoded;
  for (int i = 0; i < repetitions; ++i) {
    encoded.num_bytes = encoded.num_tokens = 0;
    const double begin = Seconds();
    for (const std::string& document : documents) {
      encoded.num_bytes += document.size();
      encoded.num_tokens += tokenizer.Encode(document).size();
    }
    encoded.seconds.push_back(Seconds() - begin);
  }
  return encoded;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadRepeatedly(const Options& options) {
  std::vector<double> seconds;
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer;
  for (int i = 0; i < options.repetitions; ++i) {
    const double begin = Seconds();
    tokenizer = Tokenizer::Load(options.model);
    if (!tokenizer.ok()) return tokenizer;
    seconds.push_back(Seconds() - begin);
  }
  absl::PrintF("load: first %.3f s, median %.3f s\n", seconds.front(), Median(seconds));
  return tokenizer;
}

absl::Status TimeTexts(const Tokenizer& tokenizer, const Options& options) {
  constexpr char kColumns[] = "%-40s %9s %9s %12s %9s %9s\n";
  absl::PrintF(kColumns, "text", "MB", "tokens", "median MB/s", "lowest", "highest");
  for (const absl::string_view path : absl::StrSplit(options.text, ',', absl::SkipEmpty())) {
    ASSIGN_OR_RETURN(const auto documents,
                     ReadDocuments(std::string(path), static_cast<size_t>(options.document_bytes)));
    const Encoded encoded = EncodeAll(tokenizer, documents, options.repetitions);
    const auto rate = [&](double share) {
      return absl::StrFormat(
          "%.1f", static_cast<double>(encoded.num_bytes) / 1e6 / Quantile(encoded.seconds, share));
    };
    absl::PrintF(kColumns, path, absl::StrFormat("%.2f", encoded.num_bytes / 1e6),
                 absl::StrCat(encoded.num_tokens), rate(0.5), rate(1), rate(0));
    std::fflush(stdout);
  }
  return absl::OkStatus();
}

struct Hostile {
  const char* name;
  std::string_view repeated;
};

constexpr Hostile kHostile[] = {
    {"one letter", "a"},
    {"one capital", "Q"},
    {"two letters", "ab"},
    {"spaces", " "},
    {"line feeds", "\n"},
    {"line feeds and spaces", " \n  \n   "},
    {"tabs and spaces", "\t "},
    {"one digit", "7"},
    {"quotes", "'"},
    {"punctuation", "!?"},
    {"begins of control tokens", "<｜begin▁of▁"},
    {"emoji", "🙂"},
    {"emoji with modifiers", "👩🏽‍🚀"},
    {"one ideograph", "好"},
    {"one accented letter", "é"},
    {"letter and accents", "e\u0301\u0327"},
    {"accents", "\u0301"},
    {"accents out of order", "\u0301\u0327"},
    {"Hangul in parts", "\u1112\u1161\u11ab"},
};

void TimeHostile(const Tokenizer& tokenizer, const Options& options) {
  constexpr char kColumns[] = "%-28s %14s %14s %8s\n";
  absl::PrintF(kColumns, "made to be slow", "MB/s at a 1/4", "MB/s", "growth");
  for (const Hostile& hostile : kHostile) {
    const auto seconds = [&](size_t bytes) {
      std::string text;
      while (text.size() < bytes) text += hostile.repeated;
      return Median(EncodeAll(tokenizer, {text}, options.repetitions).seconds);
    };
    const auto bytes = static_cast<size_t>(options.hostile_bytes);
    const double quarter = seconds(bytes / 4);
    const double whole = seconds(bytes);
    const double megabytes = static_cast<double>(bytes) / 1e6;
    absl::PrintF(kColumns, hostile.name, absl::StrFormat("%.1f", megabytes / 4 / quarter),
                 absl::StrFormat("%.1f", megabytes / whole),
                 absl::StrFormat("%.2f", whole / quarter));
    std::fflush(stdout);
  }
}

int Fail(int code, const absl::Status& status) {
  std::fprintf(stderr, "thinkwire-bench: %s\n", std::string(status.message()).c_str());
  return code;
}

}  // namespace

int RunTokenizeCommand(std::span<const char* const> arguments) {
  const auto options = Parse(arguments);
  if (!options.ok()) return Fail(kExitConfig, options.status());
  if (options->help) {
    Options defaults;
    std::fputs(absl::StrCat("thinkwire-bench tokenize: how fast a tokenizer loads and encodes\n\n",
                            DescribeOptions(Table(defaults)))
                   .c_str(),
               stdout);
    return 0;
  }
  const auto tokenizer = LoadRepeatedly(*options);
  if (!tokenizer.ok()) return Fail(kExitFailure, tokenizer.status());
  if (absl::Status timed = TimeTexts(**tokenizer, *options); !timed.ok()) {
    return Fail(kExitFailure, timed);
  }
  if (options->hostile_bytes > 0) TimeHostile(**tokenizer, *options);
  return 0;
}

}  // namespace thinkwire::bench

#include "common/gguf_file.h"

#include <algorithm>
#include <string_view>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status.h"

namespace thinkwire {
namespace {

constexpr char kExtension[] = ".gguf";
// "-00001-of-00003"
constexpr std::size_t kEndingBytes = 15;
constexpr std::size_t kDigits = 5;

std::optional<int> Number(std::string_view digits) {
  if (!std::all_of(digits.begin(), digits.end(), absl::ascii_isdigit)) return std::nullopt;
  return std::stoi(std::string(digits));
}

}  // namespace

bool IsGgufPath(const std::filesystem::path& path) {
  std::error_code error;
  return !std::filesystem::is_directory(path, error) &&
         (path.extension() == kExtension || std::filesystem::is_regular_file(path, error));
}

std::optional<GgufPart> PartOfName(const std::filesystem::path& path) {
  const std::string stem = path.stem().string();
  if (path.extension() != kExtension || stem.size() <= kEndingBytes) return std::nullopt;
  const std::string_view ending = std::string_view(stem).substr(stem.size() - kEndingBytes);
  const auto number = Number(ending.substr(1, kDigits));
  const auto count = Number(ending.substr(kEndingBytes - kDigits));
  if (ending[0] != '-' || ending.substr(1 + kDigits, 4) != "-of-" || !number || !count) {
    return std::nullopt;
  }
  return GgufPart{stem.substr(0, stem.size() - kEndingBytes), *number, *count};
}

std::string NameOfPart(const GgufPart& part, int number) {
  return absl::StrFormat("%s-%05d-of-%05d%s", part.stem, number, part.count, kExtension);
}

std::string GgufStem(const std::filesystem::path& path) {
  if (const auto part = PartOfName(path)) return part->stem;
  return path.extension() == kExtension ? path.stem().string() : path.filename().string();
}

absl::StatusOr<GgufFile> GgufFile::Open(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(MappedFile mapping, MappedFile::Open(path));
  ASSIGN_OR_RETURN(GgufContent content,
                   ParseGguf({mapping.data(), mapping.size()}, mapping.path()));
  return GgufFile(std::move(mapping), std::move(content));
}

}  // namespace thinkwire

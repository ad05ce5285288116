#include "worker/model/checkpoint/gguf_shards.h"

#include <optional>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "worker/model/checkpoint/safetensors.h"

namespace thinkwire::worker::model {
namespace {

constexpr std::uint64_t kMostShards = 1024;

absl::Status Refuse(const GgufFile& file, absl::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat(file.path(), ": ", problem));
}

// A whole number that is not negative; `absent` where there is no such key.
absl::StatusOr<std::uint64_t> Count(const GgufFile& file, const char* key, std::uint64_t absent) {
  const GgufValue* value = file.content().Find(key);
  if (value == nullptr) return absent;
  if (const auto* number = std::get_if<std::uint64_t>(value)) return *number;
  const auto* number = std::get_if<std::int64_t>(value);
  if (number != nullptr && *number >= 0) return static_cast<std::uint64_t>(*number);
  return Refuse(file, absl::StrCat(key, " is no count"));
}

// That the file is number `index`, from 0, of `count`.
absl::Status CheckPlace(const GgufFile& file, std::uint64_t index, std::uint64_t count) {
  ASSIGN_OR_RETURN(const std::uint64_t number, Count(file, "split.no", 0));
  ASSIGN_OR_RETURN(const std::uint64_t of, Count(file, "split.count", 1));
  if (number == index && of == count) return absl::OkStatus();
  return Refuse(file, absl::StrCat("split.no and split.count are ", number, " and ", of,
                                   "; as its name says they are ", index, " and ", count));
}

// The part that the name of the first of `count` files says it is.
absl::StatusOr<GgufPart> FirstPart(const GgufFile& file, std::uint64_t count) {
  const std::optional<GgufPart> part = PartOfName(file.path());
  if (!part || static_cast<std::uint64_t>(part->count) != count) {
    return Refuse(file, absl::StrCat("is one of ", count,
                                     " files (split.count), which its name must say, as in "
                                     "model-00001-of-00003.gguf"));
  }
  if (part->number == 1) return *part;
  return Refuse(file, absl::StrCat("is part ", part->number, " of ", count, "; --model takes ",
                                   NameOfPart(*part, 1), ", which has the values"));
}

}  // namespace

absl::StatusOr<GgufShards> GgufShards::Open(const std::filesystem::path& first) {
  std::vector<GgufFile> files;
  ASSIGN_OR_RETURN(GgufFile file, GgufFile::Open(first));
  ASSIGN_OR_RETURN(const std::uint64_t count, Count(file, "split.count", 1));
  if (count < 1 || count > kMostShards) {
    return Refuse(file, absl::StrCat("split.count is ", count, "; allowed: 1 to ", kMostShards));
  }
  files.push_back(std::move(file));
  if (count > 1) {
    ASSIGN_OR_RETURN(const GgufPart part, FirstPart(files.front(), count));
    RETURN_IF_ERROR(CheckPlace(files.front(), 0, count));
    for (std::uint64_t i = 1; i < count; ++i) {
      const std::string name = NameOfPart(part, static_cast<int>(i) + 1);
      ASSIGN_OR_RETURN(GgufFile next, GgufFile::Open(first.parent_path() / name));
      RETURN_IF_ERROR(CheckPlace(next, i, count));
      files.push_back(std::move(next));
    }
  }
  GgufShards shards(std::move(files));
  RETURN_IF_ERROR(shards.TakeTensors());
  return shards;
}

absl::Status GgufShards::TakeTensors() {
  for (const GgufFile& file : files_) {
    for (const GgufTensor& tensor : file.content().tensors) {
      const auto [at, added] = tensors_.try_emplace(absl::string_view(tensor.name),
                                                    GgufShardTensor{&tensor, &file.path()});
      if (added) continue;
      return Refuse(file, absl::StrCat("tensor ", QuotedName(tensor.name), " is in ",
                                       *at->second.file, " too"));
    }
  }
  ASSIGN_OR_RETURN(const std::uint64_t told,
                   Count(files_.front(), "split.tensors.count", tensors_.size()));
  if (told == tensors_.size()) return absl::OkStatus();
  return Refuse(files_.front(), absl::StrCat("split.tensors.count is ", told, ", but ",
                                             tensors_.size(), " tensors are there"));
}

GgufShardTensor GgufShards::Find(absl::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? GgufShardTensor() : found->second;
}

}  // namespace thinkwire::worker::model

#include "worker/model/checkpoint/checkpoint.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/input_limits.h"
#include "common/json.h"
#include "common/shown_text.h"
#include "common/status.h"

namespace thinkwire::worker::model {
namespace {

using nlohmann::json;

constexpr char kIndexName[] = "model.safetensors.index.json";
constexpr char kSingleName[] = "model.safetensors";

// A shard lies beside its index: no directories, no way up.
bool IsPlainFileName(absl::string_view name) {
  const auto plain = [](char c) {
    return c != '/' && c != '\\' && static_cast<unsigned char>(c) >= 0x20;
  };
  return name.size() <= 255 && std::all_of(name.begin(), name.end(), plain) &&
         !absl::StartsWith(name, ".") && absl::EndsWith(name, ".safetensors");
}

// Tensor name to file name, as the index says.
absl::StatusOr<std::map<std::string, std::string>> ReadIndex(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const json document, ReadJsonFile(path, {.max_bytes = kMaxTensorIndexBytes}));
  const auto refuse = [&path](absl::string_view problem) {
    return absl::InvalidArgumentError(absl::StrCat(path.string(), ": ", problem));
  };
  if (!document.is_object()) return refuse("not a JSON object");
  const auto weight_map = document.find("weight_map");
  if (weight_map == document.end() || !weight_map->is_object() || weight_map->empty()) {
    return refuse("weight_map is missing or empty");
  }
  std::map<std::string, std::string> files;
  for (const auto& [tensor, file] : weight_map->items()) {
    if (!file.is_string() || !IsPlainFileName(file.get_ref<const std::string&>())) {
      return refuse(absl::StrCat("weight_map sends tensor ", QuotedName(tensor), " to ",
                                 ShownText(file.dump()),
                                 "; allowed: names of .safetensors files beside the index"));
    }
    files.emplace(tensor, file.get<std::string>());
  }
  return files;
}

}  // namespace

absl::StatusOr<Checkpoint> Checkpoint::Open(const std::filesystem::path& dir) {
  Checkpoint checkpoint;
  const std::filesystem::path index = dir / kIndexName;
  auto weight_map = ReadIndex(index);
  if (absl::IsNotFound(weight_map.status())) {
    RETURN_IF_ERROR(checkpoint.Add(dir / kSingleName));
    return checkpoint;
  }
  if (!weight_map.ok()) return weight_map.status();
  std::set<std::string> names;
  for (const auto& [tensor, file] : *weight_map) names.insert(file);
  for (const std::string& name : names) RETURN_IF_ERROR(checkpoint.Add(dir / name));
  for (const auto& [tensor, file] : *weight_map) {
    const CheckpointTensor* found = checkpoint.Find(tensor);
    const std::string expected = (dir / file).string();
    if (found == nullptr || found->file != expected) {
      return absl::InvalidArgumentError(absl::StrCat(expected, ": tensor ", QuotedName(tensor),
                                                     " is not there, though ", kIndexName,
                                                     " says so"));
    }
  }
  for (const auto& [name, tensor] : checkpoint.tensors_) {
    if (!weight_map->contains(name)) {
      return absl::InvalidArgumentError(absl::StrCat(tensor.file, ": tensor ", QuotedName(name),
                                                     " is missing from ", kIndexName));
    }
  }
  return checkpoint;
}

absl::Status Checkpoint::Add(const std::filesystem::path& file) {
  ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::Open(file));
  ASSIGN_OR_RETURN(std::vector<StoredTensor> stored,
                   ParseSafetensors({mapped.data(), mapped.size()}, file.string()));
  for (StoredTensor& tensor : stored) {
    std::string name = tensor.name;
    const auto [it, added] =
        tensors_.try_emplace(std::move(name), CheckpointTensor{std::move(tensor), file.string()});
    if (!added) {
      return absl::InvalidArgumentError(absl::StrCat(
          file.string(), ": tensor ", QuotedName(it->first), " is in ", it->second.file, " too"));
    }
  }
  files_.push_back(std::move(mapped));
  return absl::OkStatus();
}

const CheckpointTensor* Checkpoint::Find(absl::string_view name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

}  // namespace thinkwire::worker::model

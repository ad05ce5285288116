#include "worker/model/checkpoint/checkpoint.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/input_limits.h"
#include "common/json.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "worker/model/checkpoint/weight_source.h"

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

bool IsThere(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

// What a folder without safetensors holds instead, and what to do about it.
absl::Status NoWeights(const std::filesystem::path& dir) {
  const auto say = [&dir](absl::string_view what) {
    return absl::NotFoundError(
        absl::StrCat((dir / kSingleName).string(), ": no such file; ", what));
  };
  for (const char* name : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
    if (!IsThere(dir / name)) continue;
    return say(absl::StrCat(name,
                            " is there, but weights are read from safetensors alone, which "
                            "transformers' save_pretrained writes"));
  }
  if (IsThere(dir / "adapter_config.json")) {
    return say(
        "the folder holds an adapter: merge it into its base model (peft's "
        "merge_and_unload) and save the whole");
  }
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(dir, error)) {
    if (entry.path().extension() != ".gguf") continue;
    return say(absl::StrCat("a GGUF file is served by its own name: --model ",
                            ShownText(entry.path().string())));
  }
  return say(absl::StrCat("there is no ", kIndexName, " either"));
}

// A warning that names some of `tensors`; nothing where there are none.
void WarnOf(const std::vector<std::string>& tensors, const std::string& what,
            std::vector<std::string>& warnings) {
  if (tensors.empty()) return;
  warnings.push_back(absl::StrCat(what, ", ", tensors.size(),
                                  " of them: ", ShownText(absl::StrJoin(tensors, ", "))));
}

}  // namespace

std::string ShapeText(std::span<const std::int64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::Status TensorError(const CheckpointTensor& tensor, absl::string_view problem) {
  return absl::InvalidArgumentError(
      absl::StrCat(tensor.file, ": tensor ", QuotedName(tensor.stored.name), " ", problem));
}

absl::StatusOr<Checkpoint> Checkpoint::Open(const std::filesystem::path& dir) {
  Checkpoint checkpoint;
  if (IsThere(dir / kSingleName)) {
    RETURN_IF_ERROR(checkpoint.Add(dir / kSingleName));
    checkpoint.WarnOfUnreadIndex(dir);
    return checkpoint;
  }
  const absl::Status added = checkpoint.AddShards(dir);
  if (!added.ok()) return added;
  return checkpoint;
}

// Some writers put an index beside the whole file, which then says nothing else.
void Checkpoint::WarnOfUnreadIndex(const std::filesystem::path& dir) {
  const auto weight_map = ReadIndex(dir / kIndexName);
  if (absl::IsNotFound(weight_map.status())) return;
  if (weight_map.ok() && std::all_of(weight_map->begin(), weight_map->end(), [](const auto& entry) {
        return entry.second == kSingleName;
      })) {
    return;
  }
  warnings_.push_back(
      absl::StrCat((dir / kIndexName).string(), ": is not obeyed, as ", kSingleName, " is there"));
}

absl::Status Checkpoint::AddShards(const std::filesystem::path& dir) {
  const std::filesystem::path index = dir / kIndexName;
  if (!IsThere(index)) return NoWeights(dir);
  ASSIGN_OR_RETURN(const auto weight_map, ReadIndex(index));
  std::set<std::string> names;
  for (const auto& [tensor, file] : weight_map) names.insert(file);
  for (const std::string& name : names) RETURN_IF_ERROR(Add(dir / name));
  std::vector<std::string> absent;
  std::vector<std::string> elsewhere;
  for (const auto& [tensor, file] : weight_map) {
    const CheckpointTensor* found = Find(tensor);
    if (found == nullptr) {
      absent.push_back(tensor);
    } else if (found->file != (dir / file).string()) {
      elsewhere.push_back(tensor);
    }
  }
  std::vector<std::string> unlisted;
  for (const auto& [name, tensor] : tensors_) {
    if (!weight_map.contains(name) && !IsRotaryBuffer(name)) unlisted.push_back(name);
  }
  WarnOf(absent, index.string() + ": names tensors that no file has", warnings_);
  WarnOf(elsewhere, index.string() + ": names tensors that are in other files", warnings_);
  WarnOf(unlisted, index.string() + ": lacks tensors that its files hold", warnings_);
  return absl::OkStatus();
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

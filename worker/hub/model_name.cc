#include "worker/hub/model_name.h"

#include <algorithm>
#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/published_models.h"
#include "common/shown_text.h"
#include "common/strings.h"

namespace thinkwire::worker::hub {
namespace {

constexpr std::size_t kMaxRepoBytes = 96;  // huggingface_hub's own limit
constexpr std::size_t kMaxRevisionBytes = 200;

absl::Status NoName(std::string_view text, std::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("'", ShownText(text), "' ", View(why)));
}

bool IsWord(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
}

// One side of the slash.
bool IsPart(std::string_view part) {
  const auto edge = [](char c) { return c == '-' || c == '.'; };
  return !part.empty() && std::ranges::all_of(part, IsWord) && !edge(part.front()) &&
         !edge(part.back());
}

// A path below `refs`, as a branch may be called "refs/pr/1".
bool IsRevision(std::string_view revision) {
  const auto allowed = [](char c) { return IsWord(c) || c == '/'; };
  return !revision.empty() && revision.size() <= kMaxRevisionBytes &&
         std::ranges::all_of(revision, allowed) && revision.front() != '/' &&
         revision.back() != '/' && revision.front() != '.' &&
         revision.find("..") == revision.npos && revision.find("//") == revision.npos &&
         revision.find("/.") == revision.npos;
}

// The published model that is called so; nullptr: none is.
const PublishedModel* Published(std::string_view name) {
  for (const PublishedModel& model : PublishedModels()) {
    const bool tagged = std::ranges::any_of(model.tags, [&](const std::string& tag) {
      return tag.back() != '*' && absl::EqualsIgnoreCase(tag, View(name));
    });
    if (tagged || absl::EqualsIgnoreCase(model.variant, View(name)) ||
        absl::EqualsIgnoreCase(model.repo, View(name))) {
      return &model;
    }
  }
  return nullptr;
}

// An open tag of a published model's, or "deepseek-r1:" and what we have never heard of.
bool IsOllamaTag(std::string_view name) { return name.find(':') != name.npos; }

}  // namespace

bool IsCommit(std::string_view revision) {
  return revision.size() == 40 && std::ranges::all_of(revision, [](char c) {
           return absl::ascii_isdigit(static_cast<unsigned char>(c)) || (c >= 'a' && c <= 'f');
         });
}

bool IsRepo(std::string_view repo) {
  const std::size_t slash = repo.find('/');
  return slash != repo.npos && repo.size() <= kMaxRepoBytes && IsPart(repo.substr(0, slash)) &&
         IsPart(repo.substr(slash + 1)) && repo.find("--") == repo.npos &&
         repo.find("..") == repo.npos && !repo.ends_with(".git");
}

absl::StatusOr<ModelName> ParseModelName(std::string_view text) {
  const std::size_t at = text.find('@');
  const std::string_view name = text.substr(0, at);
  ModelName out;
  if (at != text.npos) {
    out.revision = text.substr(at + 1);
    if (!IsRevision(out.revision)) {
      return NoName(out.revision, "behind '@' is no branch, tag or commit");
    }
  }
  if (const PublishedModel* model = Published(name)) {
    out.repo = model->repo;
    out.variant = model->variant;
    return out;
  }
  if (const std::string_view why = WhyAmbiguous(name); !why.empty()) {
    return NoName(name, absl::StrCat("is no one model: ", View(why)));
  }
  if (IsOllamaTag(name)) {
    return NoName(name,
                  "is a file of Ollama's, which is not on the hub: --model takes the file itself, "
                  "or a model's name such as deepseek-r1:7b, qwen-7b or "
                  "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B");
  }
  if (!IsRepo(name)) {
    return NoName(name,
                  "is neither a folder or file here nor a model's name: organisation/name on the "
                  "hub, or one of the family's such as qwen-7b or deepseek-r1:7b");
  }
  out.repo = name;
  return out;
}

}  // namespace thinkwire::worker::hub

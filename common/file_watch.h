#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/mutex.h"

namespace thinkwire {

// Notices that files have changed, by looking at them now and then: so it sees a write, a rename
// and a symbolic link that leads elsewhere (as Kubernetes swaps them) alike, on every file system.
// A change is told once it has been the same for two looks, so that a file is seldom met half
// written; whoever reads it must bear that nevertheless.
// Owns: a thread. Threads: any.
class FileWatch {
 public:
  static constexpr Clock::Duration kLookEvery = std::chrono::seconds(1);

  // Tells of what changes from now on, once it is started.
  FileWatch(std::vector<std::filesystem::path> paths, std::function<void()> on_change,
            Clock::Duration look_every = kLookEvery);
  ~FileWatch();  // waits for on_change
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

  // `on_change` runs on the thread from now on, once for whatever has changed between two looks; it
  // may block. Once.
  void Start();

  // `on_change` runs on the thread soon, whatever has changed: once for all who ask until it
  // begins. Does not block.
  void Ask();

 private:
  void Run();
  // What tells one state of the files from another.
  std::string Look() const;
  // Until the next look, or somebody asks: whether somebody has. nullopt: it is over.
  std::optional<bool> Wait();

  const std::vector<std::filesystem::path> paths_;
  const std::function<void()> on_change_;
  const Clock::Duration look_every_;

  Mutex mu_;
  CondVar wake_;
  bool asked_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::string told_;  // the thread's, once it runs: the last state that was told of
  std::thread thread_;
};

}  // namespace thinkwire

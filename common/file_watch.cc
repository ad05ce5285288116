#include "common/file_watch.h"

#include <sys/stat.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace thinkwire {

FileWatch::FileWatch(std::vector<std::filesystem::path> paths, std::function<void()> on_change,
                     Clock::Duration look_every)
    : paths_(std::move(paths)),
      on_change_(std::move(on_change)),
      look_every_(look_every),
      told_(Look()) {}

FileWatch::~FileWatch() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    wake_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void FileWatch::Start() {
  thread_ = std::thread([this] { Run(); });
}

void FileWatch::Ask() {
  MutexLock lock(mu_);
  asked_ = true;
  wake_.NotifyAll();
}

std::string FileWatch::Look() const {
  std::string state;
  for (const std::filesystem::path& path : paths_) {
    struct stat file {};  // of none: zeros
    (void)stat(path.c_str(), &file);
    absl::StrAppend(&state, file.st_dev, ":", file.st_ino, ":", file.st_size, ":",
                    file.st_mtim.tv_sec, ":", file.st_mtim.tv_nsec, ";");
  }
  return state;
}

std::optional<bool> FileWatch::Wait() {
  const Clock::TimePoint end = Clock::Real().Now() + look_every_;
  MutexLock lock(mu_);
  while (!stopping_ && !asked_) {
    const Clock::Duration left = end - Clock::Real().Now();
    if (left <= Clock::Duration::zero()) break;
    wake_.WaitFor(mu_, left);
  }
  if (stopping_) return std::nullopt;
  return std::exchange(asked_, false);
}

void FileWatch::Run() {
  std::string last = told_;
  while (const std::optional<bool> asked = Wait()) {
    std::string now = Look();
    if (*asked || (now == last && now != told_)) {
      told_ = now;
      on_change_();
    }
    last = std::move(now);
  }
}

}  // namespace thinkwire

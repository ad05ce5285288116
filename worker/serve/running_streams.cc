#include "worker/serve/running_streams.h"

#include <functional>
#include <unordered_map>

#include "common/mutex.h"
#include "common/strings.h"

namespace thinkwire::worker::serve {

struct RunningStreams::Map {
  mutable Mutex mu;
  std::unordered_multimap<std::string, std::weak_ptr<ResponseStream>, StringHash, std::equal_to<>>
      streams ABSL_GUARDED_BY(mu);
};

RunningStreams::Entry::Entry(std::shared_ptr<Map> map, std::string request_id,
                             std::weak_ptr<ResponseStream> stream)
    : map_(std::move(map)), request_id_(std::move(request_id)), stream_(std::move(stream)) {
  MutexLock lock(map_->mu);
  map_->streams.emplace(request_id_, stream_);
}

RunningStreams::Entry& RunningStreams::Entry::operator=(Entry&& other) noexcept {
  if (this == &other) return *this;
  Leave();
  map_ = std::move(other.map_);
  request_id_ = std::move(other.request_id_);
  stream_ = std::move(other.stream_);
  return *this;
}

void RunningStreams::Entry::Leave() {
  const std::shared_ptr<Map> map = std::move(map_);
  if (map == nullptr) return;
  MutexLock lock(map->mu);
  const auto [first, last] = map->streams.equal_range(request_id_);
  for (auto it = first; it != last; ++it) {
    if (it->second.owner_before(stream_) || stream_.owner_before(it->second)) continue;
    map->streams.erase(it);
    return;
  }
}

RunningStreams::RunningStreams() : map_(std::make_shared<Map>()) {}

RunningStreams::Entry RunningStreams::Enter(std::string request_id,
                                            std::weak_ptr<ResponseStream> stream) {
  return {map_, std::move(request_id), std::move(stream)};
}

std::vector<std::shared_ptr<ResponseStream>> RunningStreams::Find(
    std::string_view request_id) const {
  std::vector<std::shared_ptr<ResponseStream>> found;
  MutexLock lock(map_->mu);
  const auto [first, last] = map_->streams.equal_range(request_id);
  for (auto it = first; it != last; ++it) {
    if (auto stream = it->second.lock()) found.push_back(std::move(stream));
  }
  return found;
}

}  // namespace thinkwire::worker::serve

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace thinkwire::worker::serve {

class ResponseStream;

// The streams of running requests, by the requests' ids and whose they are: there may be several
// attempts of one.
// Bounded by the calls that the service admits. Threads: any.
class RunningStreams {
  struct Map;

 public:
  // A stream's place here: it is found until this is gone, and as long as it lives.
  class Entry {
   public:
    Entry() = default;
    Entry(Entry&& other) noexcept = default;
    Entry& operator=(Entry&& other) noexcept;
    ~Entry() { Leave(); }

   private:
    friend class RunningStreams;
    Entry(std::shared_ptr<Map> map, std::string key, std::weak_ptr<ResponseStream> stream);
    void Leave();

    std::shared_ptr<Map> map_;  // null: nothing is entered
    std::string key_;
    std::weak_ptr<ResponseStream> stream_;
  };

  RunningStreams();

  // `tenant`: whose the request is; empty: nobody's.
  [[nodiscard]] Entry Enter(std::string_view request_id, std::string_view tenant,
                            std::weak_ptr<ResponseStream> stream);
  std::vector<std::shared_ptr<ResponseStream>> Find(std::string_view request_id,
                                                    std::string_view tenant) const;

 private:
  const std::shared_ptr<Map> map_;  // which entries may outlive
};

}  // namespace thinkwire::worker::serve

#include "common/rpc/connection_table.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <prometheus/gauge.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <deque>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/file_descriptor.h"
#include "common/rpc/peers.h"

namespace thinkwire::rpc {
namespace {

constexpr int kPlaces = 6;  // fewer than 8: none is reserved

// gRPC's name of connection `port` from host 10.0.0.`host`.
std::string From(int host, int port) { return absl::StrCat("ipv4:10.0.0.", host, ":", port); }

using Numbers = std::vector<std::size_t>;

// A table, and both ends of every connection in it.
class ConnectionTableTest : public testing::Test {
 protected:
  struct Client {
    std::string name;
    FileDescriptor end;
    FileDescriptor served;  // the end that the table borrows
    ConnectionTable::Entry entry;
    std::vector<ConnectionTable::Call> calls{};
  };

  explicit ConnectionTableTest(int places = kPlaces, const std::string& trusted = "10.0.0.200/30")
      : table_(places, *TrustedPeers::Parse(trusted)) {}

  // Null: it was refused.
  Client* Connect(const std::string& name) {
    if (table_.MakePlace(name) == ConnectionTable::Place::kNone) return nullptr;
    std::array<int, 2> ends{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    return &clients_.emplace_back(
        Client{name, FileDescriptor(ends[1]), FileDescriptor(ends[0]), table_.Add(ends[0], name)});
  }
  Client* Connect(int host) { return Connect(From(host, ++last_port_)); }
  Client* ConnectBusy(int host) {
    Client* client = Connect(host);
    if (client != nullptr) Begin(*client);
    return client;
  }
  void Fill(int host, int count) {
    for (int i = 0; i < count; ++i) ASSERT_NE(Connect(host), nullptr);
  }
  void FillBusy(int host, int count) {
    for (int i = 0; i < count; ++i) ASSERT_NE(ConnectBusy(host), nullptr);
  }

  void Begin(Client& client) { client.calls.push_back(table_.BeginCall(client.name)); }

  // Whether the table has shut it down.
  static bool Ended(const Client& client) {
    pollfd end{.fd = client.end.get(), .events = POLLIN, .revents = 0};
    return poll(&end, 1, 0) == 1;
  }
  // The numbers of those that have ended, in the order of their beginning.
  Numbers AllEnded() const {
    Numbers ended;
    for (std::size_t i = 0; i < clients_.size(); ++i) {
      if (Ended(clients_[i])) ended.push_back(i);
    }
    return ended;
  }

  ConnectionTable table_;
  std::deque<Client> clients_;
  int last_port_ = 0;
};

TEST_F(ConnectionTableTest, OnePeerMayHaveAllPlaces) {
  FillBusy(1, kPlaces);
  EXPECT_EQ(table_.size(), std::size_t{kPlaces});
  EXPECT_EQ(AllEnded(), Numbers());
  EXPECT_EQ(Connect(1), nullptr);  // and no more
}

TEST_F(ConnectionTableTest, TheLongestIdleEndsFirst) {
  Fill(1, kPlaces);
  Begin(clients_[0]);
  Begin(clients_[1]);
  Begin(clients_[1]);
  clients_[0].calls.clear();     // idle since now
  clients_[1].calls.pop_back();  // still busy
  ASSERT_NE(Connect(2), nullptr);
  EXPECT_EQ(AllEnded(), Numbers({2}));
  Fill(2, 2);
  EXPECT_EQ(AllEnded(), Numbers({2, 3, 4}));
}

TEST_F(ConnectionTableTest, APeerThatComesAgainEndsItsOwnIdleOnes) {
  FillBusy(2, 1);
  Fill(1, kPlaces - 1);
  ASSERT_NE(Connect(1), nullptr);
  EXPECT_EQ(AllEnded(), Numbers({1}));
}

TEST_F(ConnectionTableTest, ThePeerWithMostConnectionsEndsOne) {
  Fill(1, 1);
  Fill(2, 2);
  Fill(3, 3);
  ASSERT_NE(Connect(2), nullptr);
  EXPECT_EQ(AllEnded(), Numbers({3}));
}

TEST_F(ConnectionTableTest, AmongEqualPeersTheLongestIdleEnds) {
  Fill(2, 1);
  Fill(1, 1);
  for (int host = 3; host <= kPlaces; ++host) Fill(host, 1);
  ASSERT_NE(Connect(100), nullptr);
  EXPECT_EQ(AllEnded(), Numbers({0}));
}

TEST_F(ConnectionTableTest, NobodyLosesAnIdleOneToAPeerThatHasAsMany) {
  FillBusy(1, 3);
  Fill(2, 3);
  EXPECT_EQ(Connect(1), nullptr);
  EXPECT_EQ(AllEnded(), Numbers());
}

TEST_F(ConnectionTableTest, BusyOnesEndWhereAShareIsExceededNewestFirst) {
  FillBusy(1, kPlaces);
  FillBusy(2, 3);
  EXPECT_EQ(AllEnded(), Numbers({3, 4, 5}));
  EXPECT_EQ(Connect(2), nullptr);  // it has its share, as has the other
  FillBusy(3, 2);
  EXPECT_EQ(Connect(3), nullptr);
  EXPECT_EQ(AllEnded(), Numbers({2, 3, 4, 5, 8}));
}

TEST_F(ConnectionTableTest, MorePeersThanPlacesLoseNoBusyOne) {
  for (int host = 1; host <= kPlaces; ++host) FillBusy(host, 1);
  EXPECT_EQ(Connect(100), nullptr);
  EXPECT_EQ(AllEnded(), Numbers());
}

TEST_F(ConnectionTableTest, ATrustedPeerIsBoundByNoShare) {
  FillBusy(200, 4);
  FillBusy(1, 2);
  FillBusy(200, 2);  // ends the other's
  EXPECT_EQ(AllEnded(), Numbers({4, 5}));
  EXPECT_EQ(Connect(201), nullptr);  // but by what there is
  EXPECT_EQ(Connect(1), nullptr);
}

TEST_F(ConnectionTableTest, OthersSharesAreOfWhatTrustedPeersLeave) {
  FillBusy(200, 4);
  FillBusy(1, 2);
  FillBusy(2, 1);
  EXPECT_EQ(AllEnded(), Numbers({5}));
  EXPECT_EQ(Connect(2), nullptr);
}

TEST_F(ConnectionTableTest, ATrustedIdleOneEndsAfterAllOthers) {
  Fill(200, kPlaces - 1);
  Fill(1, 1);
  ASSERT_NE(Connect(1), nullptr);
  EXPECT_EQ(AllEnded(), Numbers({5}));
  ASSERT_NE(ConnectBusy(1), nullptr);
  EXPECT_EQ(AllEnded(), Numbers({5, 6}));
  ASSERT_NE(Connect(1), nullptr);
  EXPECT_EQ(AllEnded(), Numbers({0, 5, 6}));
}

TEST_F(ConnectionTableTest, AnIpv6PeerIsItsNetwork) {
  for (int i = 1; i <= kPlaces; ++i) {
    Begin(*Connect(absl::StrCat("ipv6:[2001:db8::", i, "]:80")));
  }
  EXPECT_EQ(Connect("ipv6:[2001:db8::99]:80"), nullptr);
  ASSERT_NE(Connect("ipv6:[2001:db8:0:1::1]:80"), nullptr);
  EXPECT_EQ(AllEnded(), Numbers({5}));
}

class TrustedAddressTest : public ConnectionTableTest {
 protected:
  TrustedAddressTest() : ConnectionTableTest(kPlaces, "2001:db8::1") {}
};

TEST_F(TrustedAddressTest, IsNotTheRestOfItsNetwork) {
  for (int i = 1; i <= kPlaces; ++i) {
    Begin(*Connect(absl::StrCat("ipv6:[2001:db8::2]:", i)));
  }
  EXPECT_EQ(Connect("ipv6:[2001:db8::3]:1"), nullptr);
  for (int i = 1; i <= kPlaces; ++i) {
    Begin(*Connect(absl::StrCat("ipv6:[2001:db8::1]:", i)));
  }
  EXPECT_EQ(AllEnded(), Numbers({0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(Connect("ipv6:[2001:db8::2]:1"), nullptr);
}

TEST_F(ConnectionTableTest, CallsAreFoundByGrpcsSpellingToo) {
  Client* client = Connect("ipv6:[2001:db8::1]:80");
  client->calls.push_back(table_.BeginCall("ipv6:%5B2001:db8::1%5D:80"));
  for (int i = 1; i <= kPlaces; ++i) {
    ASSERT_NE(Connect(absl::StrCat("ipv6:[2001:db8::2]:", i)), nullptr);
  }
  EXPECT_EQ(AllEnded(), Numbers({1}));
}

TEST_F(ConnectionTableTest, CloseEndsAConnectionAndFreesItsPlace) {
  FillBusy(1, kPlaces);
  table_.Close(clients_[2].name);
  EXPECT_EQ(AllEnded(), Numbers({2}));
  EXPECT_EQ(table_.size(), std::size_t{kPlaces} - 1);
  EXPECT_EQ(table_.CallsOf(clients_[2].name), 1);  // until whoever serves it has seen its end
  EXPECT_NE(ConnectBusy(1), nullptr);
  EXPECT_EQ(Connect(1), nullptr);
  table_.Close(clients_[2].name);  // again
  table_.Close("ipv4:10.9.9.9:1");
  EXPECT_EQ(AllEnded(), Numbers({2}));
}

TEST_F(ConnectionTableTest, AllCanBeClosed) {
  Fill(1, 2);
  FillBusy(2, 1);
  table_.CloseAll();
  EXPECT_EQ(AllEnded(), Numbers({0, 1, 2}));
  EXPECT_EQ(table_.size(), 0U);
}

TEST_F(ConnectionTableTest, LeavesADescriptorAloneWhoseEntryIsGone) {
  Client& client = *Connect(1);
  client.entry = {};
  EXPECT_EQ(table_.size(), 0U);
  EXPECT_FALSE(table_.Close(client.name));
  table_.CloseAll();
  EXPECT_FALSE(Ended(client));
}

TEST(ConnectionTable, ShowsHowManyHaveAPlace) {
  prometheus::Gauge open;
  ConnectionTable table(kPlaces, {}, &open);
  const FileDescriptor first(eventfd(0, EFD_CLOEXEC));
  const FileDescriptor second(eventfd(0, EFD_CLOEXEC));
  ConnectionTable::Entry one = table.Add(first.get(), From(1, 1));
  ConnectionTable::Entry other = table.Add(second.get(), From(1, 2));
  EXPECT_EQ(open.Value(), 2);
  one = {};
  EXPECT_EQ(open.Value(), 1);
  EXPECT_TRUE(table.Close(From(1, 2)));
  EXPECT_EQ(open.Value(), 0);
  other = table.Add(second.get(), From(1, 3));
  table.StopCounting();
  EXPECT_EQ(open.Value(), 0);
  other = {};
  EXPECT_EQ(open.Value(), 0);
}

TEST_F(ConnectionTableTest, ACallOutlivesItsConnectionAndTouchesNoLaterOne) {
  Client& first = *ConnectBusy(1);
  EXPECT_EQ(table_.CallsOf(first.name), 1);
  first.entry = {};
  EXPECT_EQ(table_.CallsOf(first.name), 0);
  EXPECT_EQ(table_.size(), 0U);
  Client& second = *Connect(first.name);
  Begin(second);
  first.calls.clear();
  FillBusy(1, kPlaces - 1);
  EXPECT_EQ(Connect(1), nullptr);  // the second is busy still
}

TEST_F(ConnectionTableTest, CallsOfWhatIsNotThereAreNone) {
  const ConnectionTable::Call call = table_.BeginCall("ipv4:10.0.0.1:1");
  const ConnectionTable::Call none;
}

// With room for peers of one connection each.
class ManyPeersTest : public ConnectionTableTest {
 protected:
  static constexpr int kMany = 64;
  ManyPeersTest() : ConnectionTableTest(kMany, "") {}

  // As whoever has reserved places.
  Client* Arrive() { return Connect(absl::StrCat("ipv4:127.1.0.", ++arrived_, ":1")); }
  void Serve(Client& client) {
    Begin(client);
    client.calls.clear();
  }

 private:
  int arrived_ = 0;
};

TEST_F(ManyPeersTest, WhoHasBeenServedKeepsHisPlaceFromNewcomersWithoutACall) {
  Client& honest = *Arrive();
  Serve(honest);
  for (int i = 0; i < 3 * kMany; ++i) ASSERT_NE(Arrive(), nullptr);
  EXPECT_FALSE(Ended(honest));
  EXPECT_EQ(AllEnded().size(), 2U * kMany + 1);
  EXPECT_EQ(AllEnded().back(), 2U * kMany + 1) << "the longest there first";
}

TEST_F(ManyPeersTest, NewcomersHaveHalfOfThePlacesToBeginACallIn) {
  for (int i = 0; i < kMany; ++i) Serve(*Arrive());
  Client& newcomer = *Arrive();
  for (int i = 0; i < kMany / 2; ++i) ASSERT_NE(Arrive(), nullptr);
  EXPECT_FALSE(Ended(newcomer));
  EXPECT_EQ(AllEnded().back(), kMany / 2) << "those that were served longest ago had to go";
  Arrive();
  EXPECT_TRUE(Ended(newcomer));
  EXPECT_EQ(AllEnded().size(), kMany / 2 + 2U);
}

TEST_F(ManyPeersTest, AConnectionWithACallHasBeenUsed) {
  for (int i = 0; i < kMany; ++i) ASSERT_NE(Arrive(), nullptr);
  Begin(clients_[0]);
  Serve(clients_[1]);
  ASSERT_NE(Arrive(), nullptr);
  ASSERT_NE(Arrive(), nullptr);
  EXPECT_EQ(AllEnded(), Numbers({2, 3}));
}

class ReservedPlacesTest : public ConnectionTableTest {
 protected:
  static constexpr int kMany = 256;
  static constexpr int kCommon = kMany - ConnectionTable::kReserved;
  ReservedPlacesTest() : ConnectionTableTest(kMany, "10.0.0.0/32") {}
};

TEST_F(ReservedPlacesTest, AreForTrustedPeersAndThisMachine) {
  for (int host = 1; host <= kCommon; ++host) {
    ASSERT_NE(Connect(absl::StrCat("ipv4:10.1.0.", host, ":1")), nullptr);
    Begin(clients_.back());
  }
  EXPECT_EQ(Connect("ipv4:10.1.1.1:1"), nullptr);
  EXPECT_NE(Connect("ipv4:127.0.0.1:1"), nullptr);
  EXPECT_NE(Connect("ipv6:[::1]:1"), nullptr);
  while (table_.size() < kMany) ASSERT_NE(Connect(0), nullptr);
  EXPECT_EQ(AllEnded(), Numbers());
  // A busy one of others gives no place to whom only common places are open.
  EXPECT_EQ(Connect("ipv4:10.1.1.1:1"), nullptr);
}

// Random connects, calls and ends of a few peers, the last of them trusted.
class RandomConnectionsTest : public ConnectionTableTest {
 protected:
  static constexpr int kHosts = 5;
  static constexpr std::size_t kMany = 40;
  RandomConnectionsTest() : ConnectionTableTest(kMany, "10.0.0.5") {}

  void Step() {
    const std::size_t at = random_() % kMany;
    const auto action = random_() % 8;
    if (at >= clients_.size() || action >= 4) {
      Arrive(1 + static_cast<int>(random_() % kHosts));
    } else if (action >= 2) {
      Begin(clients_[at]);
    } else if (action == 1) {
      if (!clients_[at].calls.empty()) clients_[at].calls.pop_back();
    } else if (random_() % 4 == 0) {
      Drop(at);
    }
  }

 private:
  // Checks rule 3 and the refusals.
  void Arrive(int host) {
    const std::size_t share = ShareBeside(host);
    const std::size_t held = Held(PeerKey(From(host, 0)));
    const bool full = clients_.size() == kMany;
    const bool came = Connect(host) != nullptr;
    const Numbers ended = AllEnded();
    if (!came) {
      EXPECT_TRUE(full);
      EXPECT_TRUE(host == kHosts ? Held("10.0.0.5") == kMany : held >= share);
    }
    ASSERT_EQ(ended.size(), full && came ? 1U : 0U);
    if (ended.empty()) return;
    const Client& client = clients_[ended[0]];
    if (const std::string owner = PeerKey(client.name); !client.calls.empty()) {
      EXPECT_NE(owner, "10.0.0.5");
      EXPECT_GT(Held(owner), share);
    }
    Drop(ended[0]);
  }

  std::size_t Held(const std::string& key) const {
    return static_cast<std::size_t>(std::ranges::count_if(
        clients_, [&](const Client& client) { return PeerKey(client.name) == key; }));
  }

  std::size_t ShareBeside(int host) const {
    std::size_t peers = 0;
    for (int other = 1; other < kHosts; ++other) {
      if (other == host || Held(PeerKey(From(other, 0))) > 0) ++peers;
    }
    const std::size_t taken = Held("10.0.0.5") + (host == kHosts ? 1 : 0);
    return peers == 0 || taken > kMany ? 0 : (kMany - taken) / peers;
  }

  void Drop(std::size_t at) {
    clients_[at].calls.clear();
    clients_[at].entry = {};
    clients_.erase(clients_.begin() + static_cast<std::ptrdiff_t>(at));
  }

  std::mt19937 random_{1};
};

TEST_F(RandomConnectionsTest, NobodyWithinHisShareLosesCallsOrIsRefused) {
  for (int step = 0; step < 5'000 && !HasFailure(); ++step) {
    Step();
    ASSERT_EQ(table_.size(), clients_.size()) << "step " << step;
  }
}

}  // namespace
}  // namespace thinkwire::rpc

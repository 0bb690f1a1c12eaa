// The pool's books, one for the whole process: how many links exist for whom, and who waits, in order.
//
// Shape    A worker takes a slot before it opens a link and gives it back when the link is gone. Who finds no slot
//          queues; whoever returns a link or a slot asks whom it is for.
// Limits   links per node, links per (node, database, user), kMaxWaiting in the queue. A server that has refused a link
//          for want of room has a ceiling of its own below that, which is felt for.
// Errors   none; enqueue() says no when the queue is full.
// Threads  all methods may be called from any worker; one mutex, never held across anything but map look-ups: however
//          many wait, a few of them are looked at; all of those whom a server has refused when it has let nobody in.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "backend/link.h"
#include "base/clock.h"
#include "base/ids.h"

namespace herdgate::pool {

struct Limits {
  std::size_t per_node = 128;  // max_pool x num_init_children
  std::size_t per_key = 0;     // pool_size; 0 = no own limit
};

// A fingerprint of the settings that a link's server gave it at its login (see cache/defaults.h).
enum class Defaults : std::uint64_t { unknown = 0 };

struct KeyAccount {
  // Links of one key that are idle, or will be when they have been cleaned, on all workers together: a hint whether
  // somebody else could give one.
  std::atomic<int> idle{0};
  // Of the newest link that is known in this epoch; unknown when there is no link.
  std::atomic<Defaults> defaults{Defaults::unknown};

 private:
  friend class Accounts;
  TimePoint newest_{}, changed_{};  // that link's beginning; when another fingerprint came up
};
using KeyAccountPtr = std::shared_ptr<KeyAccount>;

struct Waiting {
  backend::LinkKey key;
  WorkerId worker;
  std::uint64_t ticket = 0;
  bool fresh = false;    // only a new link will do: its login is the proof of a password
  int overtaken = 0;     // this often a younger one was given a link whose slot would have done
  bool refused = false;  // by the server, for want of room
};

class Accounts {
 public:
  static constexpr std::size_t kMaxWaiting = 200'000;
  explicit Accounts(Limits limits) : limits_(limits) {}
  void set_limits(Limits limits);

  // Takes a slot. beyond_ceiling: whatever the server has refused to others.
  bool try_open(const backend::LinkKey& key, bool beyond_ceiling = false);
  void closed(const backend::LinkKey& key, TimePoint now);      // gives it back, of a link that was open
  void not_opened(const backend::LinkKey& key, TimePoint now);  // … of one that did not come to be
  bool full(NodeId node) const;                                 // its limit or ceiling is reached

  // The server had no slot for the link: ours is given back, and as many as there are now are the node's ceiling.
  struct Refused {
    std::size_t others = 0;   // links to that node that are open
    std::size_t opening = 0;  // … that are about to be: some of them may have got in already
    bool leaving = false;     // one was given back within kLeaves: the server's process may not be gone yet
    bool first = false;       // since there was no ceiling, of those when others were open
    bool alone() const { return others == 0 && opening == 0; }  // nothing is worth waiting for
  };
  Refused refused(const backend::LinkKey& key, TimePoint now);
  static constexpr Duration kLeaves = std::chrono::seconds(5);
  // It has no room for us at all: it has no ceiling, and those in line whom it has refused are taken off the queue.
  std::vector<Waiting> in_vain(NodeId node);
  // It had one: at the ceiling, there may be room for one more.
  void opened(NodeId node, bool superuser = false);
  // Once a second: a ceiling that keeps somebody waiting is raised by one, as other clients of the server may have
  // gone; one that no refusal has renewed for kCeilingLife is dropped, and one of 0 for which nobody waits.
  void feel_for_room(TimePoint now);
  static constexpr Duration kCeilingLife = std::chrono::minutes(5);
  std::optional<std::size_t> ceiling(NodeId node) const;
  // Who waits for a link of this key waits because of the ceiling of its node, and not of a limit of ours.
  bool server_bounds(const backend::LinkKey& key) const;
  // Nobody waits for a link to that node, and those that are open leave less than kLeftToOthers, or a quarter, below
  // its ceiling. A superuser's links go up to the end of what the server keeps for superusers: kOnlySuperusers more.
  bool crowds(NodeId node) const;
  static constexpr std::size_t kLeftToOthers = 4;    // the one by which the ceiling may be too high among them
  static constexpr std::size_t kOnlySuperusers = 3;  // superuser_reserved_connections, by its default

  std::optional<std::uint64_t> enqueue(Waiting who);  // gives the ticket; nullopt: queue full
  void put_back(Waiting who);  // what was promised to it did not come: it has its old place again
  // False: somebody has already been told to serve it.
  bool withdraw(const backend::LinkKey& key, std::uint64_t ticket);
  bool anybody_waits() const { return waiting_count_.load(std::memory_order_acquire) != 0; }
  // What is to become of an idle link of this key. Who needs its slot, for a fresh link or for one of another key when
  // the node's limit is reached, has it closed for him in his turn; but so that links are not closed and opened all the
  // time where two keys want them, younger ones of its key come first kMostOvertaken times.
  struct Turn {
    std::optional<Waiting> taker;  // gets it; taken off the queue
    bool make_room = false;        // it is closed
  };
  static constexpr int kMostOvertaken = 16;
  Turn next_for(const backend::LinkKey& key);
  bool fresh_wanted(const backend::LinkKey& key) const;
  bool waits_for(const backend::LinkKey& key) const;  // somebody does, for a link of this key
  // Who may open a link now that a slot is free; taken off the queue, and the slot is taken for it.
  std::optional<Waiting> first_that_may_open();

  KeyAccountPtr key_account(const backend::LinkKey& key);

  // What a link has been given counts for one epoch: settings_changed() begins the next, when a server may have read
  // its configuration anew, which changes what live links have.
  std::uint64_t settings_epoch() const { return settings_epoch_.load(std::memory_order_acquire); }
  void settings_changed();
  enum class Learned : std::uint8_t { as_others, newer, older };
  struct Lesson {
    TimePoint opened, now;
    std::uint64_t epoch = 0;  // in which the link was asked
    Defaults defaults = Defaults::unknown;
  };
  // newer: links opened before this one have other defaults; older: this one has those of old. A kind whose links
  // differ all the time (by a login trigger, say) is left as it is: then nothing is said more than once in kSettles.
  Learned learned(const backend::LinkKey& key, const Lesson& lesson);
  static constexpr Duration kSettles = std::chrono::seconds(5);
  std::size_t links() const;
  Limits limits() const;
  std::map<backend::LinkKey, std::size_t> waiting_by_key() const;
  std::size_t waiting() const { return waiting_count_.load(std::memory_order_relaxed); }
  std::uint64_t looked_at() const;  // waiters, by next_for() and first_that_may_open()

 private:
  struct OfKey {
    std::size_t links = 0;
    std::map<std::uint64_t, Waiting> queue;  // by ticket, the oldest first
    std::size_t fresh = 0;                   // of them
    std::uint64_t head = 0;                  // its entry in the node's heads; 0: none
  };
  using Keys = std::map<backend::LinkKey, OfKey>;
  using Heads = std::map<std::uint64_t, Keys::iterator>;
  static constexpr std::size_t kNoCeiling = std::numeric_limits<std::size_t>::max();
  struct OfNode {
    std::size_t links = 0, open = 0;  // those about to be opened are not in the latter
    std::size_t ceiling = kNoCeiling;
    TimePoint refused{}, left{};  // last; until when a server's process may not be gone yet
    bool said = false;            // Refused::first, under this ceiling
    bool superusers = false;      // some links are or were such a user's
    Heads heads;                  // the oldest waiter of each key that is below its own limit
    Heads refusals;               // all waiters whom the server has refused
  };
  bool full(const OfNode& of) const { return of.links >= std::min(limits_.per_node, of.ceiling); }
  bool below_own_limit(const OfKey& of) const { return limits_.per_key == 0 || of.links < limits_.per_key; }
  void give_back(const backend::LinkKey& key);
  void insert(Waiting who);
  Waiting take(Keys::iterator key, std::uint64_t ticket);
  void settle(Keys::iterator key);
  mutable std::mutex mutex_;
  Limits limits_;
  Keys keys_;                                               // with links, or with somebody who waits
  std::map<NodeId, OfNode> nodes_;                          // kMaxNodes at most: none is dropped
  std::map<backend::LinkKey, KeyAccountPtr> key_accounts_;  // those nobody else holds are dropped when it grows
  std::size_t sweep_at_ = 1024;
  std::atomic<std::size_t> waiting_count_{0};
  std::uint64_t last_ticket_ = 0, looked_at_ = 0;
  std::atomic<std::uint64_t> settings_epoch_{1};
};

}  // namespace herdgate::pool

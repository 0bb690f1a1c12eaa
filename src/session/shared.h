// What the workers of one process share: the books, the cancel register, the client gate, and small caches.
// Everything else belongs to one worker or is immutable.
//
// Limits   each table has a named bound; what is over it is not remembered (caches) or refused (gate).
// Threads  each class is thread-safe by itself; locks are held only across map operations.
#pragma once
#include <atomic>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "auth/credentials.h"
#include "base/hash.h"
#include "base/ids.h"
#include "base/log.h"
#include "cache/admission.h"
#include "cache/remote.h"
#include "cache/store.h"
#include "catalog/catalog.h"
#include "cluster/view.h"
#include "config/hba.h"
#include "config/password_file.h"
#include "config/settings.h"
#include "net/socket.h"
#include "pool/accounts.h"
#include "report/snapshot.h"
#include "session/login_memory.h"
#include "session/pauses.h"

namespace herdgate::session {

// Settings, files and cluster as one worker sees them; replaced as a whole, taken once per request.
struct Snapshot {
  config::SettingsPtr settings;
  std::shared_ptr<const config::HbaLoaded> hba;           // null when enable_pool_hba is off
  std::shared_ptr<const config::PasswordFile> passwords;  // never null
  std::shared_ptr<const std::vector<config::Interface>> interfaces;
  std::optional<auth::Secret> key;  // for AES entries
  cluster::ViewPtr view;
  std::shared_ptr<const Pauses> pauses;  // null: nothing is paused
  bool restrains = false;                // some work has to wait: something is paused, or the primary is awaited
};
using SnapshotPtr = std::shared_ptr<const Snapshot>;

// A line of pool_passwd as module auth wants it. An empty password is none, as in PostgreSQL.
auth::StoredSecret stored_secret(const config::PasswordEntry& entry);

// Finds the session that a cancel request means.
class CancelRegister {
 public:
  struct Target {
    WorkerId worker;
    SessionId session;
  };
  void add(std::int32_t pid, const Bytes& secret, Target target);
  void remove(std::int32_t pid, const Bytes& secret);
  std::optional<Target> find(std::int32_t pid, const Bytes& secret) const;

 private:
  struct Entry {
    Bytes secret;
    Target target;
  };
  using ByPid = std::unordered_multimap<std::int32_t, Entry>;  // of several servers two may have one number
  static ByPid::const_iterator find_in(const ByPid& targets, std::int32_t pid, const Bytes& secret);
  mutable std::mutex mutex_;
  ByPid targets_;
};

// Lets num_init_children clients in; the others wait in order. While it is shut all new ones wait.
class ClientGate {
 public:
  static constexpr std::size_t kMaxWaiting = 100'000;
  struct Waiting {
    WorkerId worker;
    SessionId session;
  };
  enum class Entry { in, wait, refused };
  Entry enter(const Waiting& who, std::size_t limit, std::size_t refuse_from);  // refuse_from 0: never refuse, wait
  // One client has left: who comes in for it.
  std::optional<Waiting> leave(std::size_t limit);
  void withdraw(SessionId session);
  // `empty` is called once, from whatever thread, when the last client inside has left; at once when there is none.
  void shut(std::function<void()> empty);
  std::vector<Waiting> open(std::size_t limit);  // who comes in now
  std::size_t inside() const { return inside_.load(std::memory_order_relaxed); }
  std::size_t waiting() const;
  // That clients wait is worth a line in the log, which is at most one in kTellsAgain.
  bool tells(TimePoint now);
  static constexpr Duration kTellsAgain = std::chrono::minutes(1);

 private:
  Waiting pop_waiting();
  mutable std::mutex mutex_;
  std::list<Waiting> queue_;
  std::unordered_map<SessionId, std::list<Waiting>::iterator> places_;  // in it
  bool shut_ = false;
  std::function<void()> empty_;
  std::optional<TimePoint> told_;
  std::atomic<std::size_t> inside_{0};
};

// Statements sent to each node, by class; one array per worker, summed when somebody asks.
struct NodeCounters {
  std::atomic<std::uint64_t> select{0}, insert{0}, update{0}, del{0}, ddl{0}, other{0}, panic{0}, fatal{0}, error{0};
};
struct WorkerCounters {
  NodeCounters nodes[kMaxNodes];
};

// The figures of the health checks: the control thread writes them, whoever makes a report reads them.
class HealthBoard {
 public:
  using Figures = std::shared_ptr<const report::HealthByNode>;
  void store(Figures figures) {
    const std::lock_guard lock(mutex_);
    figures_ = std::move(figures);
  }
  Figures load() const {
    const std::lock_guard lock(mutex_);
    return figures_;
  }

 private:
  mutable std::mutex mutex_;
  Figures figures_;
};

struct Shared {
  explicit Shared(Log& l, pool::Limits limits) : log(l), accounts(limits), hash_key(HashKey::random()) {}
  Log& log;
  pool::Accounts accounts;
  catalog::Epochs epochs;
  CancelRegister cancels;
  ClientGate gate;
  LoginMemory logins;
  HealthBoard health;
  std::unique_ptr<cache::Store> query_cache;  // null: memory_cache_enabled is off
  std::unique_ptr<cache::Sharing> memcached;  // null: the answers are in query_cache itself
  HashKey hash_key;
  auth::Secret mock_secret;
  // Clients' names are looked up apart: while a name service is silent, passwords are checked all the same.
  static constexpr int kNamingThreads = 4;
  net::BlockingPool names{kNamingThreads};
  net::BlockingPool server_names{kNamingThreads};  // … and servers' too
  std::atomic<int> outcomes_open{0};    // COMMITs without an answer whose fate is being asked; writes wait for that
  std::atomic<int> commits_checked{0};  // new primaries that are being asked for what sessions had committed
  std::atomic<std::uint64_t> last_session{0};
  WallTime started{};
};

}  // namespace herdgate::session

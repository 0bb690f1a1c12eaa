// One worker's server links: lends them, takes them back, cleans, ages and closes them, and moves idle ones to workers
// where somebody waits. The books of all workers together are in Accounts.
//
// Shape    A session asks try_take() first (no waiting, no lock) and request() if that gives nothing. What it got it
//          gives back with give_back(); discard() is for links that cannot be used again. A link that is not clean is
//          never lent again: it is closed.
// Limits   Accounts' limits; a waiter waits until its deadline; cleaning takes kCleanTimeout at most.
// Errors   OpenFailure of the backend module, or Errc::wait_timed_out, queue_full, node_gone, stopping in its error.
// Threads  one Pool per worker, touched by that worker only; Peers::post brings other workers' requests.
// Source   Pgpool-II 4.6 manual, "Connection Pooling"; ARCHITECTURE.md sections 1 and 4.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/opener.h"
#include "base/histogram.h"
#include "base/log.h"
#include "cluster/view.h"
#include "config/settings.h"
#include "pool/accounts.h"
#include "pool/errc.h"
#include "pool/server_link.h"
#include "report/figures.h"

namespace herdgate::pool {

class Pool;

// The other workers.
class Peers {
 public:
  virtual ~Peers() = default;
  virtual void post_all_others(WorkerId from, std::function<void(Pool&)> work) = 0;
  virtual void post(WorkerId to, std::function<void(Pool&)> work) = 0;
};

// Idle links of one (node, database, user) on this worker.
struct KeyPool {
  backend::LinkKey key;
  KeyAccountPtr account;
  std::vector<ServerLink*> idle;  // the most recently used last
  int cleaning = 0;               // links that will be idle in a moment
  int awaited = 0;                // requests that wait for one of those
  TimePoint older_go{};           // retire_older(): for those that were on their way here
};
using KeyPoolPtr = std::shared_ptr<KeyPool>;

// How a session leaves a link.
struct Return {
  bool session_ends = false;  // run reset_query_list
  bool pinned = false;        // session_ends, transaction mode: what hung on it is reset, whatever that list says
  bool dirty = true;          // session_ends: the session left something to reset (skip_clean_reset)
};

class Cleaner;

class Pool : private backend::LinkKeeper {
 public:
  static constexpr Duration kCleanTimeout = std::chrono::seconds(10);
  static constexpr Duration kCancelTimeout = std::chrono::seconds(10);
  static constexpr Duration kOpenTimeout = std::chrono::seconds(60);  // where connect_timeout sets no limit

  struct Wiring {
    net::Loop& loop;
    net::BlockingPool& blocking;
    net::BlockingPool& names;  // looks servers up: passwords are checked on the other one, whatever a name service does
    backend::Scratch& scratch;
    Accounts& accounts;
    Peers& peers;
    WorkerId worker;
    Log& log;
    // A connection could not be made or broke: a hint, with the SQLSTATE of what the server said to that.
    std::function<void(NodeId, const std::string& why, std::string_view farewell)> node_trouble;
    std::function<void(NodeId)> node_reached;  // a connection was made
  };
  explicit Pool(Wiring wiring);
  ~Pool();

  void configure(std::shared_ptr<const config::Settings> settings, cluster::ViewPtr view);
  KeyPoolPtr key_pool(const backend::LinkKey& key);

  // An idle link, or null. The caller sets the link's user.
  ServerLink* try_take(KeyPool& pool);

  using Result = tl::expected<ServerLink*, backend::OpenFailure>;
  using OnResult = std::function<void(Result)>;
  struct Ask {
    KeyPoolPtr pool;
    std::optional<auth::Credentials> credentials;  // without: on_method is called when the server has asked
    std::function<void(auth::ServerMethod, backend::Opener&)> on_method;
    bool fresh = false;       // an idle link will not do: the login itself must be proved
    bool at_once = false;     // do not queue: null when somebody else would have to give a link first
    bool other_node = false;  // another node can serve: what a server without room says is told at once
    Deadline deadline;
  };
  // A request that waits or opens; destroying it gives up.
  class Pending {
   public:
    ~Pending();
    // How the server wanted the login; nullopt: the link was there already, and its login was somebody else's.
    std::optional<auth::ServerMethod> method() const { return method_; }
    bool proved() const { return proved_; }
    bool in_queue() const { return place_.ticket != 0; }  // nobody has given it a link yet, nor the room to open one

   private:
    friend class Pool;
    explicit Pending(Pool& pool) : pool_(pool) {}
    Pool& pool_;
    Ask ask_;
    OnResult done_;
    TimePoint began_{};
    Waiting place_;   // in the queue; ticket 0 = not in it
    Waiting former_;  // what it had there before it was told to open a link
    net::TimerId timer_ = 0, handing_ = 0;
    std::unique_ptr<backend::Opener> opener_;
    bool holds_slot_ = false;
    std::optional<backend::OpenFailure> refusal_;  // by a server without room, the last one
    bool alone_ = false;                           // when it was refused there was no other link to the node
    bool awaits_ = false;                          // counted in KeyPool::awaited
    ServerLink* handed_ = nullptr;                 // given to us, `done` follows in the next turn
    std::optional<auth::ServerMethod> method_;
    bool proved_ = false;
  };
  // `done` comes once, never from within request(). Null only with Ask::at_once.
  std::unique_ptr<Pending> request(Ask ask, OnResult done);

  void give_back(ServerLink& link, const Return& how);
  void discard(ServerLink& link, const Error& why);
  // Cancels what runs on the link; it is not lent to anybody before that is over.
  void cancel(ServerLink& link);

  void abandon_dead_nodes();
  void report_loss(const ServerLink& link);
  void close_idle(const std::function<bool(const ServerLink&)>& which);
  // The holder has asked, in `epoch`, what the link's login gave it. True: those who logged in before this link have
  // other defaults. Their links are not lent again.
  bool learned(ServerLink& link, Defaults defaults, std::uint64_t epoch);
  // Every link goes: what is idle at once, the rest when it comes back or has been cleaned.
  void renew();
  void stop();  // closes what is idle; what comes back later is closed too
  std::vector<report::LinkRow> rows() const;
  // How long was waited for links that were not there at once, for a free one or a new one; also in vain.
  const std::map<NodeId, Histogram>& waits() const { return waits_; }
  // Links by node, database and user, without those who wait (see Accounts).
  std::vector<report::PoolFigures> figures() const;
  std::size_t links() const { return all_.size(); }

 private:
  friend class Cleaner;
  void maintain();
  void on_lost_unused(backend::Link& link) override;
  bool usable(const ServerLink& link) const;
  backend::OpenRequest open_request(const backend::LinkKey& key) const;
  void open(Pending& pending);
  void opened(Pending& pending, tl::expected<backend::Opened, backend::OpenFailure> result);
  void complete(Pending& pending, Result result);
  void make_available(ServerLink& link);
  void cleaned(ServerLink& link, bool fine);
  void ask_others(const backend::LinkKey& key, std::uint64_t counts = 0);
  void counted_in_vain(const backend::LinkKey& key, std::uint64_t ticket);
  void hand_over(ServerLink& link, const Waiting& to);
  void hand_to(ServerLink& link, Pending& pending);
  void serve_anew(const Waiting& who);
  void adopt(std::shared_ptr<std::unique_ptr<ServerLink>> link, net::Socket socket, const Waiting& to);
  void granted(std::uint64_t ticket, const backend::LinkKey& key);
  void relinquish(const backend::LinkKey& key);
  bool evict_one(const backend::LinkKey& wanted, bool fresh);
  bool take_slot(const Ask& ask);
  bool waits_for_room(Pending& pending, const backend::OpenFailure& refusal);
  void tell_refused(NodeId node);
  void stand_in_line(Pending& pending);
  void leave_room_to_others();
  bool close_oldest(NodeId node, const std::function<bool(const backend::LinkKey&)>& which);
  void serve_slots();
  void close(ServerLink& link, const Error& why);
  bool forget_idle(ServerLink& link);
  void enqueue(Pending& pending, bool then_here);
  void count_cleaning(const ServerLink& link, int change);
  bool worth_waiting(const KeyPool& pool) const;
  void clean(ServerLink& link, std::vector<std::string> queries);
  using Delivery = backend::Canceller::Delivery;
  void cancel_over(std::uint64_t id, Delivery how);
  void retire_older(const backend::LinkKey& key, TimePoint than);
  bool taken_down(NodeId node) const;
  void stop_opening(Pending& pending);
  std::vector<std::string> reset_queries(const ServerLink& link, const Return& how) const;

  Wiring wiring_;
  std::shared_ptr<const config::Settings> settings_;
  cluster::ViewPtr view_;
  std::map<backend::LinkKey, KeyPoolPtr> keys_;
  std::map<ServerLink*, std::unique_ptr<ServerLink>> all_;
  std::map<NodeId, Histogram> waits_;
  std::map<std::uint64_t, Pending*> by_ticket_;
  std::map<ServerLink*, std::unique_ptr<Cleaner>> cleaning_;
  const vsession::ParameterSetPtr no_parameters_ = std::make_shared<vsession::ParameterSet>();
  // A cancel request under way. Its link may be closed meanwhile, and another one may lie at the same address then.
  struct Cancel {
    std::unique_ptr<backend::Canceller> canceller;
    ServerLink* link;  // null: closed
  };
  std::map<std::uint64_t, Cancel> cancels_;
  std::uint64_t last_id_ = 0, last_cancel_ = 0;
  net::TimerId maintenance_ = 0;
  TimePoint renewed_{};      // renew(): for links that were on their way here
  bool loss_noted_ = false;  // links that were lost idle are looked for at the end of this turn
  bool stopping_ = false;
  LogContext who_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace herdgate::pool

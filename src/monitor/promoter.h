// The built-in failover: stops the standbys' receivers, reads what each has, promotes one, points the others at it.
//
// Shape    start() with one Job; `done` comes once. A standby that does not follow afterwards is told to `left_behind`,
//          within kFollowLimit. What is decided, cluster::judge decides.
// Limits   kStepLimit for each question to a standby, kCalmLimit until none receives from the old primary,
//          kPromoteLimit for the promotion, kLongestPromotion where the server says that it has still to replay what it
//          has, or does not answer.
// Errors   in PromotionEnded::text; then every standby has its old primary_conninfo again, or is
//          named in PromotionEnded::left_behind; a stopped one keeps it in the setting (cluster::stopped_conninfo).
// Threads  one loop.
// Source   PostgreSQL manual, "pg_promote", "ALTER SYSTEM", "pg_stat_wal_receiver", "pg_ls_waldir"; kOldestBuiltin and
//          later.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "cluster/promotion.h"
#include "cluster/state.h"
#include "monitor/follower.h"
#include "monitor/primary_facts.h"
#include "monitor/question.h"

namespace herdgate::monitor {

inline constexpr Duration kStepLimit = std::chrono::seconds(3);
inline constexpr Duration kCalmLimit = std::chrono::seconds(1);
inline constexpr Duration kCalmPause = std::chrono::milliseconds(50);
inline constexpr Duration kPromoteLimit = std::chrono::seconds(30);
inline constexpr Duration kLongestPromotion = std::chrono::minutes(10);
inline constexpr Duration kPromotionPause = std::chrono::seconds(1);

class Promoter {
 public:
  struct Standby {
    ProbeTarget target;  // with a user that may ALTER SYSTEM and pg_promote
    std::string application_name;
    bool usable = true;  // false: it is down for the proxy
    bool stray = false;  // see cluster::Candidate
  };
  struct Job {
    std::vector<Standby> standbys;  // all, also those that are down; the old primary only when planned
    std::optional<cluster::SyncRule> rule;
    bool recalled = false;  // see cluster::Situation
    std::optional<std::uint64_t> old_primary_position;
    std::optional<std::int64_t> old_primary_timeline;
    NodeId wanted = kNoNode;
    bool planned = false;  // a switchover: the old primary is among the standbys
    NodeId old_primary = kNoNode;
    bool resumed = false, patient = true;  // see cluster::Promotion
  };
  struct Hooks {
    std::function<void(const cluster::PromotionEnded&)> done;
    std::function<void(const cluster::LeftBehind&)> left_behind;
    // Who is the primary by now, as others than this one have learned. kNoNode: nobody. Empty: nobody would know.
    std::function<NodeId()> primary;
    // What the new primary says of itself, before `done`.
    std::function<void(NodeId, const PrimaryFacts::Facts&)> promoted;
  };
  Promoter(const ProbeMeans& means, Log& log, Hooks hooks);
  ~Promoter();
  Promoter(const Promoter&) = delete;
  Promoter& operator=(const Promoter&) = delete;

  void start(Job job);  // whatever an earlier job still watches is given up

 private:
  struct Server {
    Standby standby;
    cluster::Candidate candidate;
    std::unique_ptr<backend::Client> client;
    std::string conninfo, slot;
    std::string locked_by;  // whose command to change primary_conninfo may still be on its way
    bool refused = false;   // the last question, by the server itself
    bool stopped = false, altered = false, pointed = false, follows = false;
    std::string trouble;
    std::string lost_way;  // why its primary_conninfo cannot be pointed elsewhere
  };
  using Chosen = bool (*)(const Server&);
  using Sql = std::function<std::string(const Server&)>;
  using Take = std::function<void(Server&, const backend::Rows&)>;
  void each(Chosen chosen, const Sql& sql, Take take, std::function<void()> then);
  void step_ended();
  void later(Duration pause, std::function<void()> work);
  void say(Level level, const std::string& text);

  void examine();
  bool waits_for_locks();
  cluster::Situation situation() const;
  bool may_receive() const;
  NodeId promoted_by_others() const;
  void give_up(const cluster::PromotionEnded& end);
  void examined();
  void stop_receivers();
  void reload_then(const Take& take, std::function<void()> then);
  void read_positions();
  void positions_read();
  void promote(NodeId node);
  void promotion_told(const backend::Rows& rows);
  void not_heard(const Error& why);
  void tell_again();
  void not_promoted(const std::string& why);
  void ask_its_facts();
  void promoted(const PrimaryFacts::Facts& said);
  void make_slots();
  std::string obstacle(const Server& server, const net::Destination& to);
  void point_the_others();
  void pointed();
  void restore();
  void put_back(std::function<void()> then);
  void restored();
  void watch_followers();
  void followers_seen();
  Server* successor();

  ProbeMeans means_;
  Log& log_;
  LogContext who_;
  Hooks hooks_;
  Job job_;
  std::vector<std::unique_ptr<Server>> servers_;
  std::size_t open_ = 0;
  std::function<void()> then_;
  std::uint64_t run_ = 0;  // answers of earlier jobs are dropped
  TimePoint began_{};
  NodeId chosen_ = kNoNode, already_ = kNoNode;
  bool unheard_ = false;  // it was said that the chosen one does not answer
  std::string verdict_;
  net::TimerId timer_ = 0;
};

}  // namespace herdgate::monitor

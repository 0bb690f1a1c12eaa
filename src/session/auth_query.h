// Asks a server for the verifiers of users (auth_query), for the logins of one worker.
//
// Shape    ask() for a user; `done` gets the verifier, or kind none when there is no such user. Answers are remembered
//          in LoginMemory, so look there first. Logins of the same user that come meanwhile wait for the same answer.
//          Its connection has search_path = pg_catalog, pg_temp, whatever the database or the role sets.
// Limits   one connection per worker, outside the limits of the pool, kept for kIdle; one query at a time; kMaxWaiting
//          logins; kLimit for each query, the opening of the connection included.
// Errors   what the server or the connection said; session::Errc where it is of the moment, and speaks neither against
//          the user nor against the server. A kept connection that turns out to be dead, or says nothing, is opened
//          anew once: a server that hangs does not let it in.
// Threads  the worker's.
// Source   ours; the query is as in PgBouncer: one row, the verifier in its last column.
#pragma once
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "backend/client.h"
#include "session/login_memory.h"
#include "session/shared.h"

namespace herdgate::session {

class Worker;

class AuthQueries {
 public:
  static constexpr std::size_t kMaxWaiting = 10'000;
  static constexpr Duration kLimit = std::chrono::seconds(10);
  static constexpr Duration kIdle = std::chrono::seconds(10);
  using Who = LoginMemory::Who;
  using Found = tl::expected<auth::StoredSecret, backend::OpenFailure>;
  using Done = std::function<void(const Found&)>;

  explicit AuthQueries(Worker& worker) : worker_(worker) {}
  ~AuthQueries();
  // Whose verifier: the database is that in which the query runs.
  static Who key_of(const config::Settings& settings, const std::string& database, const std::string& user);
  void ask(const Who& who, Done done);
  // The worker has a new one. Of a primary that hangs no answer comes: where there is another by now, that one is
  // asked.
  void snapshot_came();
  // The server was not reached, or is not ready: that says nothing of the user, and a probe will tell what it is.
  static bool unreachable(const backend::OpenFailure& why);
  // Nor does this: the server works and is full, or slow, or the trouble is our own.
  static bool for_the_moment(const backend::OpenFailure& why);

 private:
  // What the connection was made with: where another target is wanted, another connection is.
  struct Target {
    backend::LinkKey key;
    std::string host;
    int port = 0;
    config::SettingsPtr settings;
    std::shared_ptr<const config::PasswordFile> passwords;
    bool operator==(const Target&) const = default;
  };
  std::optional<Target> target_for(const Who& who) const;
  auth::Credentials credentials() const;
  void begin_next();
  void open(const Target& target);
  void answered(const Who& who, Result<backend::Rows> rows);
  backend::OpenFailure failure_of(const Error& why) const;
  void finish(const Who& who, const Found& found);
  void close();

  Worker& worker_;
  std::map<Who, std::vector<Done>> waiting_;
  std::deque<Who> queue_;
  std::size_t waiting_count_ = 0;
  std::unique_ptr<backend::Client> client_;
  Target opened_;
  net::TimerId idle_timer_ = 0;
  bool running_ = false;
  bool reused_ = false;  // the query runs on a connection that was there before
};

}  // namespace herdgate::session

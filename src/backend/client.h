// A small client for our own questions: open a link, run simple queries one after another, get the rows as text.
// Used by the monitor, by auth_query and for what became of a commit; sessions ask their own links.
//
// Shape    query() queues one SQL text; `done` gets its rows or an error. One query at a time, in order.
// Limits   kMaxResultBytes for a result; each query has its own deadline; kMaxQueued queries wait.
// Errors   Errc::query_failed with the server's message, timed_out, closed_by_server, connect_failed,
//          nobody_listens, login_*.
// Threads  one loop. Destroying it closes the link; no callback comes after that.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/opener.h"

namespace herdgate::backend {

using Rows = std::vector<std::vector<std::optional<std::string>>>;

// The rows of a run of whole DataRow messages, as captured from a link.
Result<Rows> read_rows(ByteView messages);

class Client final : public LinkUser {
 public:
  static constexpr std::size_t kMaxResultBytes = 4 << 20;
  static constexpr std::size_t kMaxQueued = 64;
  using OnRows = std::function<void(Result<Rows>)>;

  Client(net::Loop& loop, net::BlockingPool& blocking, Scratch& scratch, OpenRequest request);
  ~Client() override;
  void query(std::string sql, Deadline deadline, OnRows done);
  bool connected() const { return link_ != nullptr; }
  bool broken() const { return broken_.has_value(); }
  const std::optional<OpenFailure>& refused() const { return refused_; }  // why it could not be opened
  const std::string& sqlstate() const { return sqlstate_; }  // of the server's error to the last query; empty: none

  void on_rows(Link& link, const Debt& head, ByteView bytes, bool stable) override;
  void on_reply(Link& link, const Debt& head, const Message& message, bool done) override;
  void on_ended(Link& link, const Debt& debt, Ended how) override;
  void on_async(Link&, const Debt*, const Message&) override {}
  void on_chunk_end(Link&) override {}
  void on_drained(Link&) override {}
  void on_lost(Link& link, const Error& why) override;

 private:
  struct Job {
    std::string sql;
    Deadline deadline;
    OnRows done;
    net::TimerId timer = 0;
    std::uint64_t id = 0;
  };
  void opened(tl::expected<Opened, OpenFailure> result);
  void start_next();
  void give_up(const Error& why);
  void finish(Result<Rows> rows);

  net::Loop& loop_;
  Scratch& scratch_;
  LinkKey key_;
  std::unique_ptr<Opener> opener_;
  std::unique_ptr<Link> link_;
  std::deque<Job> jobs_;
  bool running_ = false;
  Bytes rows_;
  std::string sqlstate_;
  std::optional<Error> failed_, broken_;
  std::optional<OpenFailure> refused_;
  std::uint64_t last_job_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace herdgate::backend

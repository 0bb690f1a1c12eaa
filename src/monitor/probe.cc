#include "monitor/probe.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "base/bytes.h"
#include "net/errc.h"

namespace herdgate::monitor {
namespace {

using cluster::Outcome;

// Role and position in one question; pg_current_wal_lsn() would be an error on a standby, and CASE keeps it off.
// What is created later has a greater oid, so that what the names up to the last one say changes with a RENAME or DROP
// only.
constexpr const char* kRoleQuery =
    "SELECT pg_catalog.pg_is_in_recovery(), CASE WHEN pg_catalog.pg_is_in_recovery() "
    "THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END, "
    "pg_catalog.pg_conf_load_time(), pg_catalog.has_table_privilege('pg_catalog.pg_db_role_setting', 'select'), "
    "CASE WHEN NOT pg_catalog.pg_is_in_recovery() "
    "THEN pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8) END, "
    "pg_catalog.pg_stat_get_bgwriter_stat_reset_time(), names.* FROM (SELECT pg_catalog.max(oid::pg_catalog.int8), "
    "pg_catalog.md5(pg_catalog.string_agg(name, ' ' ORDER BY name COLLATE \"C\")), pg_catalog.md5(COALESCE("
    "pg_catalog.string_agg(name, ' ' ORDER BY name COLLATE \"C\") FILTER (WHERE oid::pg_catalog.int8 <= {}), '')) "
    "FROM (SELECT oid, pg_catalog.concat('d', oid, ' ', datname) AS name FROM pg_catalog.pg_database "
    "UNION ALL SELECT oid, pg_catalog.concat('r', oid, ' ', rolname) FROM pg_catalog.pg_roles) AS named) AS names";
// By itself: whoever may not read it is not to fail for it.
constexpr const char* kDefaultsQuery =
    "SELECT pg_catalog.md5(COALESCE(pg_catalog.string_agg(s::pg_catalog.text, ' ' ORDER BY setdatabase, setrole), '')) "
    "FROM pg_catalog.pg_db_role_setting AS s";
// One row at least: the settings come with it.
constexpr const char* kSendersQuery =
    "SELECT application_name, state, sync_state, pg_catalog.date_part('epoch', replay_lag), "
    "pg_catalog.current_setting('synchronous_standby_names') "
    "FROM (SELECT) AS one LEFT JOIN pg_catalog.pg_stat_replication ON true";
// The columns are there from PostgreSQL 11 on; as JSON a missing one is null. Without pg_monitor they are null, too.
constexpr const char* kReceiverQuery =
    "SELECT r->>'sender_host', r->>'sender_port', pg_catalog.date_part('epoch', "
    "pg_catalog.current_setting('wal_receiver_timeout')::pg_catalog.interval), "
    "r IS NULL AND EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name = 'primary_conninfo' "
    "AND pg_catalog.starts_with(setting, 'stopped_by_pgpool=1 ')), pg_catalog.current_setting('server_version_num'), "
    "r->>'received_tli' "
    "FROM (SELECT) AS one LEFT JOIN (SELECT pg_catalog.to_jsonb(w) AS r "
    "FROM pg_catalog.pg_stat_wal_receiver w WHERE status = 'streaming') AS receiver ON true";
constexpr std::size_t kRoleColumns = 9, kSenderColumns = 5, kReceiverColumns = 6;

constexpr std::uint32_t kSslRequestBytes = 8, kSslRequestCode = 80877103;

std::optional<std::uint32_t> parse_timeline(std::string_view text, int base) {
  std::uint32_t timeline = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), timeline, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return timeline;
}

std::uint32_t parse_oid(std::string_view text) {
  std::uint32_t oid = 0;
  std::from_chars(text.data(), text.data() + text.size(), oid);
  return oid;
}

std::string text_or_empty(const std::optional<std::string>& value) { return value.value_or(std::string()); }

// ---- with a login

class LoginProbe final : public Probing {
 public:
  LoginProbe(const ProbeMeans& means, const ProbeTarget& target, ProbeDone done, ProbeLogins* logins)
      : means_(means),
        target_(target),
        logins_(target.may_keep ? logins : nullptr),
        deadline_(Deadline::after(means.loop.now(), target.whole_limit)),
        done_(std::move(done)) {
    if (logins_ != nullptr) login_ = logins_->take(target_);
    if (login_.client)
      ask_role();
    else
      log_in();
  }

 private:
  void log_in() {
    const TimePoint now = means_.loop.now();
    login_ = {
        std::make_unique<backend::Client>(means_.loop, means_.blocking, means_.scratch, request(means_.loop, target_)),
        now};
    ask_role();
  }
  void ask_role() {
    client().query(fmt::format(kRoleQuery, target_.newest_name), deadline_,
                   [this](Result<backend::Rows> rows) { on_role(std::move(rows)); });
  }
  backend::Client& client() { return *login_.client; }
  static backend::OpenRequest request(net::Loop& loop, const ProbeTarget& target) {
    const Duration limit = std::min(target.connect_limit, target.whole_limit);
    return {{target.node, target.database, target.user},
            target.to,
            Deadline::after(loop.now(), limit),
            target.tcp,
            target.credentials};
  }
  void on_role(Result<backend::Rows> rows) {
    const bool too_late = !rows && rows.error().code == backend::Errc::timed_out;
    if (!rows && login_.used && !too_late) return log_in();
    if (!rows) return fail(rows.error());
    if (rows->size() != 1 || rows->front().size() != kRoleColumns || !rows->front()[0])
      return fail(Error{backend::Errc::query_failed, "an unexpected answer about its role"});
    answer_.in_recovery = *rows->front()[0] == "t";
    answer_.position = parse_position(text_or_empty(rows->front()[1]));
    answer_.configured = text_or_empty(rows->front()[2]);
    answer_.timeline = parse_timeline(text_or_empty(rows->front()[4]), /*base=*/16);
    answer_.counting_since = text_or_empty(rows->front()[5]);
    answer_.newest_name = parse_oid(text_or_empty(rows->front()[6]));
    answer_.names = text_or_empty(rows->front()[7]);
    answer_.names_before = text_or_empty(rows->front()[8]);
    if (text_or_empty(rows->front()[3]) != "t") return ask_by_role();
    client().query(kDefaultsQuery, deadline_,
                   [this](Result<backend::Rows> defaults) { on_defaults(std::move(defaults)); });
  }
  void on_defaults(Result<backend::Rows> rows) {
    if (!rows) return fail(rows.error());
    if (rows->size() == 1 && rows->front().size() == 1) answer_.defaults = text_or_empty(rows->front()[0]);
    ask_by_role();
  }
  void ask_by_role() {
    if (*answer_.in_recovery) {
      return client().query(kReceiverQuery, deadline_,
                            [this](Result<backend::Rows> receiver) { on_receiver(std::move(receiver)); });
    }
    client().query(kSendersQuery, deadline_, [this](Result<backend::Rows> senders) { on_senders(std::move(senders)); });
  }
  void on_receiver(Result<backend::Rows> rows) {
    if (!rows) return fail(rows.error());
    if (rows->size() != 1 || rows->front().size() != kReceiverColumns) return finish();
    const auto& row = rows->front();
    answer_.wal_receiver_timeout = parse_seconds(text_or_empty(row[2]));
    answer_.stopped = text_or_empty(row[3]) == "t";
    answer_.version = text_or_empty(row[4]);
    answer_.timeline = parse_timeline(text_or_empty(row[5]), /*base=*/10);
    if (row[1]) {
      const std::string port = *row[1];
      cluster::Upstream upstream{text_or_empty(row[0]), 0};
      const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), upstream.port);
      if (error == std::errc() && end == port.data() + port.size()) answer_.upstream = std::move(upstream);
    }
    finish();
  }
  void on_senders(Result<backend::Rows> rows) {
    if (!rows) return fail(rows.error());
    for (const auto& row : *rows) {
      if (row.size() != kSenderColumns) continue;
      answer_.sync_names = row[4];
      if (!row[1]) continue;
      answer_.senders.push_back(
          {text_or_empty(row[0]), text_or_empty(row[1]), text_or_empty(row[2]), parse_seconds(text_or_empty(row[3]))});
    }
    finish();
  }
  void fail(const Error& error) {
    answer_.outcome = outcome_of(error);
    answer_.nameless = error.code == backend::Errc::name_not_found;
    answer_.text = error.text();
    finish();
  }
  void finish() {
    if (logins_ != nullptr && answer_.outcome == Outcome::healthy) logins_->keep(target_, std::move(login_));
    const ProbeDone done = std::move(done_);  // it may destroy this probe
    done(std::move(answer_));
  }

  const ProbeMeans means_;
  const ProbeTarget target_;
  ProbeLogins* const logins_;
  Deadline deadline_;
  ProbeDone done_;
  Answer answer_;
  ProbeLogins::Login login_;
};

// ---- without a login

class Ping final : public Probing, public net::Watcher {
 public:
  Ping(const ProbeMeans& means, const ProbeTarget& target, ProbeDone done) : loop_(means.loop), done_(std::move(done)) {
    const Duration limit = std::min(target.connect_limit, target.whole_limit);
    connecting_ = net::connect(loop_, means.blocking, target.to, {Deadline::after(loop_.now(), limit), target.tcp},
                               [this](Result<net::Socket> socket) { connected(std::move(socket)); });
    timer_ = loop_.after(limit, [this] {
      timer_ = 0;
      const bool named = connecting_ && connecting_->looking_up();
      end(named ? Outcome::not_ready : Outcome::unreachable, named ? "the name service does not answer" : "timed out");
    });
  }
  ~Ping() override {
    *alive_ = false;
    close();
  }

  void on_ready(unsigned ready) override {
    if (!(ready & (net::kReadable | net::kHangup)) || !socket_.open()) return;
    char answer = 0;
    const net::Io io = socket_.read(loop_, std::span(&answer, 1));
    if (io.state == net::Io::would_block) return;
    if (io.state == net::Io::closed) return end(Outcome::unreachable, "closed the connection");
    if (io.state == net::Io::failed) return end(Outcome::unreachable, std::strerror(io.errno_value));
    // S and N: whether it speaks TLS. E: an error, such as too many connections: a server all the same.
    if (answer == 'S' || answer == 'N' || answer == 'E') return end(Outcome::healthy, "");
    end(Outcome::unreachable, "what answers there is no PostgreSQL server");
  }

 private:
  void connected(Result<net::Socket> socket) {
    if (!socket) {
      const Error& why = socket.error();
      const bool ours = why == make_error_code(net::Errc::own_shortage) || why == make_error_code(net::Errc::busy) ||
                        why == make_error_code(net::Errc::name_service_failed);
      nameless_ = why == make_error_code(net::Errc::name_not_found);
      return end(ours ? Outcome::not_ready : Outcome::unreachable, why.text());
    }
    socket_ = std::move(*socket);
    if (auto watched = loop_.watch(socket_.fd(), *this); !watched)
      return end(Outcome::not_ready, watched.error().text());
    Bytes request;
    append_u32(request, kSslRequestBytes);
    append_u32(request, kSslRequestCode);
    const net::Io io = socket_.write(loop_, request);  // 8 octets always fit into a fresh socket
    if (io.state == net::Io::failed) end(Outcome::unreachable, std::strerror(io.errno_value));
  }
  void close() {
    loop_.cancel(std::exchange(timer_, 0));
    if (!socket_.open()) return;
    loop_.unwatch(socket_.fd());
    socket_.close();
  }
  void end(Outcome outcome, std::string text) {
    if (!done_) return;
    close();
    Answer answer;
    answer.outcome = outcome;
    answer.text = std::move(text);
    answer.nameless = nameless_;
    loop_.defer([alive = alive_, done = std::exchange(done_, nullptr), answer = std::move(answer)] {
      if (*alive) done(answer);
    });
  }

  net::Loop& loop_;
  ProbeDone done_;
  std::unique_ptr<net::Connecting> connecting_;
  net::Socket socket_;
  bool nameless_ = false;
  net::TimerId timer_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

Outcome outcome_of(const Error& error) {
  using backend::Errc;
  for (Errc not_of_node : {Errc::login_refused, Errc::not_looked_up, Errc::own_shortage})
    if (error.code == not_of_node) return Outcome::not_ready;
  for (Errc against_node : {Errc::connect_failed, Errc::nobody_listens, Errc::timed_out, Errc::closed_by_server,
                            Errc::protocol_broken, Errc::name_not_found})
    if (error.code == against_node) return Outcome::unreachable;
  return Outcome::refused;
}

ProbeLogins::~ProbeLogins() {
  for (const Kept& kept : kept_) loop_.cancel(kept.timer);
}

ProbeLogins::Login ProbeLogins::take(const ProbeTarget& target) {
  const auto at = std::find_if(kept_.begin(), kept_.end(), [&](const Kept& k) { return k.target.node == target.node; });
  if (at == kept_.end()) return {};
  Kept kept = std::move(*at);
  kept_.erase(at);
  loop_.cancel(kept.timer);
  const bool same = kept.target.to.host == target.to.host && kept.target.to.port == target.to.port &&
                    kept.target.user == target.user && kept.target.database == target.database &&
                    !kept.login.client->broken();
  kept.login.used = true;
  return same ? std::move(kept.login) : Login{};
}

void ProbeLogins::keep(const ProbeTarget& target, Login login) {
  const Duration left = login.made + kLife - loop_.now();
  if (left <= Duration::zero()) return;
  take(target);
  const net::TimerId timer = loop_.after(left, [this, target] { take(target); });
  kept_.push_back({target, std::move(login), timer});
}

std::unique_ptr<Probing> start_probe(const ProbeMeans& means, const ProbeTarget& target, ProbeDone done,
                                     ProbeLogins* logins) {
  if (target.user.empty()) return std::make_unique<Ping>(means, target, std::move(done));
  return std::make_unique<LoginProbe>(means, target, std::move(done), logins);
}

}  // namespace herdgate::monitor

#include "session/auth_query.h"

#include "backend/errc.h"
#include "base/sqlstate.h"
#include "session/errc.h"
#include "session/worker.h"

namespace herdgate::session {
namespace {

std::string quoted_literal(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    out += c;
    if (c == '\'') out += c;
  }
  return out + "'";
}

// $1 in the query is the user's name; it is put in as a quoted literal.
std::string query_for(std::string sql, const std::string& user) {
  const std::string literal = quoted_literal(user);
  for (std::size_t at = 0; (at = sql.find("$1", at)) != std::string::npos; at += literal.size())
    sql.replace(at, 2, literal);
  return sql;
}

// (name, verifier) or just the verifier. What is no verifier is no way in.
auth::StoredSecret verifier_in(const backend::Rows& rows) {
  if (rows.empty() || rows.front().empty() || !rows.front().back()) return {};
  const auto parsed = auth::parse_rolpassword(*rows.front().back());
  return parsed ? *parsed : auth::StoredSecret{};
}

// The client may have named the database. Its owner sets what sessions begin with there (ALTER DATABASE … SET), but not
// what is asked for at start-up: by a search_path of his, his tables and operators would take the place of the
// catalog's, and his code would run as auth_query_user.
std::vector<std::pair<std::string, std::string>> own_settings() {
  return {{"search_path", "pg_catalog, pg_temp"}, {"standard_conforming_strings", "on"}};
}

tl::unexpected<backend::OpenFailure> failed(std::error_code code, const char* what = "") {
  return tl::unexpected(backend::OpenFailure{Error{code, what}, std::nullopt, std::nullopt});
}

// Of a name without a schema that was found until search_path was ours, in the query or in a function that it calls.
std::string with_hint(const std::string& problem) {
  const auto says = [&](const char* sqlstate) { return problem.find(sqlstate) != std::string::npos; };
  if (!says("(42883)") && !says("(42P01)")) return problem;
  return problem +
         "; its search_path is pg_catalog, pg_temp: write the schema in auth_query, and in the functions that it calls";
}

}  // namespace

AuthQueries::~AuthQueries() { worker_.loop().cancel(idle_timer_); }

AuthQueries::Who AuthQueries::key_of(const config::Settings& settings, const std::string& database,
                                     const std::string& user) {
  return {settings.auth_query_database.empty() ? database : settings.auth_query_database, user};
}

void AuthQueries::ask(const Who& who, Done done) {
  if (waiting_count_ >= kMaxWaiting) {
    worker_.loop().defer([done = std::move(done)] { done(failed(Errc::auth_query_crowded)); });
    return;
  }
  ++waiting_count_;
  auto& waiting = waiting_[who];
  if (waiting.empty()) queue_.push_back(who);
  waiting.push_back(std::move(done));
  // Not from here: an answer at once would come before ask() has returned.
  worker_.loop().defer([this] { begin_next(); });
}

std::optional<AuthQueries::Target> AuthQueries::target_for(const Who& who) const {
  const Snapshot& snapshot = *worker_.snapshot();
  const cluster::Node* node = snapshot.view->find(snapshot.view->write_node());
  if (node == nullptr || !node->live()) return std::nullopt;
  return Target{{node->id, who.database, snapshot.settings->auth_query_user},
                node->host,
                node->port,
                snapshot.settings,
                snapshot.passwords};
}

bool AuthQueries::unreachable(const backend::OpenFailure& why) { return why.against_node() || why.not_ready(); }

bool AuthQueries::for_the_moment(const backend::OpenFailure& why) {
  const bool ours = why.error.code.category() == errc_category(static_cast<Errc*>(nullptr));
  return why.full() || ours || why.cut_short() || (why.elsewhere() && !why.server);
}

auth::Credentials AuthQueries::credentials() const {
  const Snapshot& snapshot = *worker_.snapshot();
  const config::Settings& settings = *snapshot.settings;
  auth::StoredSecret stored;
  if (!settings.auth_query_password.empty()) {
    if (auto parsed = auth::parse_stored(settings.auth_query_password)) stored = *parsed;
  } else if (const auto* entry = snapshot.passwords->find_user(settings.auth_query_user)) {
    stored = stored_secret(*entry);
  }
  if (auto opened = auth::unlock(stored, snapshot.key)) stored = *opened;
  return auth::credentials_from(stored, settings.auth_query_user).value_or(auth::Credentials{});
}

void AuthQueries::open(const Target& target) {
  close();
  opened_ = target;
  net::Loop& loop = worker_.loop();
  backend::OpenRequest request;
  request.key = target.key;
  request.to = {target.host, target.port};
  request.deadline = Deadline::after(loop.now(), kLimit);
  request.credentials = credentials();
  request.names = &worker_.shared().server_names;
  request.settings = own_settings();
  client_ = std::make_unique<backend::Client>(loop, worker_.blocking(), worker_.scratch(), request);
}

void AuthQueries::begin_next() {
  if (running_ || queue_.empty()) return;
  const Who who = queue_.front();
  net::Loop& loop = worker_.loop();
  loop.cancel(std::exchange(idle_timer_, 0));
  const auto target = target_for(who);
  if (!target) return finish(who, failed(backend::Errc::connect_failed, "no node is up"));
  reused_ = client_ != nullptr && !client_->broken() && *target == opened_;
  if (!reused_) open(*target);
  running_ = true;
  client_->query(query_for(target->settings->auth_query, who.user), Deadline::after(loop.now(), kLimit),
                 [this, who](Result<backend::Rows> rows) { answered(who, std::move(rows)); });
}

void AuthQueries::snapshot_came() {
  if (!running_) return;
  const cluster::View& now = *worker_.snapshot()->view;
  const cluster::Node* asked = now.find(opened_.key.node);
  if (asked != nullptr && asked->live() && asked->id == now.write_node()) return;
  running_ = false;
  client_.reset();  // at once: what it has deferred must not be taken for the next one's answer
  worker_.loop().defer([this] { begin_next(); });
}

void AuthQueries::answered(const Who& who, Result<backend::Rows> rows) {
  running_ = false;
  if (!rows && reused_ && client_->broken()) {
    close();  // it had died while it lay idle
    return begin_next();
  }
  if (!rows) {
    backend::OpenFailure failure = failure_of(rows.error());
    const std::string_view word = failure.not_ready() ? sqlstate::kCannotConnectNow : std::string_view();
    if (unreachable(failure))
      worker_.workers().hint_node_trouble(opened_.key.node, "auth_query: " + rows.error().text(), word);
    close();
    failure.error.context = with_hint(failure.error.context);
    return finish(who, tl::unexpected(std::move(failure)));
  }
  const auth::StoredSecret verifier = verifier_in(*rows);
  worker_.shared().logins.remember_verifier(who, verifier, worker_.loop().now());
  finish(who, verifier);
}

// Of a query that has no answer yet, at a server that has let us in, the server may well be working.
backend::OpenFailure AuthQueries::failure_of(const Error& why) const {
  if (client_->refused()) return *client_->refused();
  Error error = why;
  if (why == make_error_code(backend::Errc::timed_out) && client_->connected())
    error = Error{Errc::auth_query_slow, fmt::format("{} s", kLimit / std::chrono::seconds(1))};
  if (why == make_error_code(backend::Errc::query_failed) && sqlstate::passes(client_->sqlstate()))
    error = Error{Errc::auth_query_hindered, why.context};
  return {std::move(error), std::nullopt, std::nullopt};
}

void AuthQueries::finish(const Who& who, const Found& found) {
  const auto node = waiting_.extract(who);
  queue_.pop_front();
  waiting_count_ -= node.mapped().size();
  for (const Done& done : node.mapped()) done(found);
  if (!queue_.empty()) return worker_.loop().defer([this] { begin_next(); });
  if (client_ && idle_timer_ == 0) {
    idle_timer_ = worker_.loop().after(kIdle, [this] {
      idle_timer_ = 0;
      close();
    });
  }
}

void AuthQueries::close() {
  if (!client_) return;
  // The client may be in the middle of its own callback.
  worker_.loop().defer([old = std::shared_ptr<backend::Client>(std::move(client_))] {});
}

}  // namespace herdgate::session

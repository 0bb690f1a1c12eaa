#include "session/login.h"

#include <openssl/rand.h>

#include "base/sqlstate.h"
#include "session/session.h"
#include "session/words.h"

namespace herdgate::session {
namespace {

auth::HbaMethod method_from(config::HbaMethod method) {
  switch (method) {
    case config::HbaMethod::trust:
      return auth::HbaMethod::trust;
    case config::HbaMethod::reject:
      return auth::HbaMethod::reject;
    case config::HbaMethod::md5:
      return auth::HbaMethod::md5;
    case config::HbaMethod::scram_sha_256:
      return auth::HbaMethod::scram_sha_256;
    case config::HbaMethod::password:
      return auth::HbaMethod::password;
    case config::HbaMethod::cert:
      return auth::HbaMethod::cert;
    case config::HbaMethod::pam:
      return auth::HbaMethod::pam;
    case config::HbaMethod::ldap:
      return auth::HbaMethod::ldap;
  }
  return auth::HbaMethod::reject;
}

report::Refusal kind_of(const wire::Report& refusal) {
  const std::string_view state = refusal.sqlstate;
  if (state == sqlstate::kTooManyConnections) return report::Refusal::limit;
  return state.starts_with("28") ? report::Refusal::authentication : report::Refusal::other;
}

wire::Report fatal(std::string_view state, std::string message, std::string hint = {}) {
  wire::Report report;
  report.severity = "FATAL";
  report.sqlstate = state;
  report.message = std::move(message);
  report.hint = std::move(hint);
  report.file = "login";
  return report;
}

wire::Report no_node() {
  return fatal(sqlstate::kConnectionFailure, "could not connect to any node",
               "All nodes are down. They are probed and used again when they answer.");
}

wire::Report no_link_in_time(std::chrono::seconds limit, bool server_bounds) {
  wire::Report report = fatal(sqlstate::kTooManyConnections, "could not get a server connection",
                              no_link_hint(server_bounds, "authentication_timeout"));
  report.detail =
      fmt::format("The login was waiting for one when authentication_timeout was over, {} s.", limit.count());
  return report;
}

wire::Report unsupported_protocol(int major, int minor) {
  return fatal(sqlstate::kFeatureNotSupported, fmt::format("unsupported frontend protocol {}.{}", major, minor),
               "Herdgate speaks protocol 3.0 and 3.2.");
}

}  // namespace

Login::Login(Session& session) : session_(session) {}

Login::~Login() {
  if (alive_) *alive_ = false;
  session_.worker_.loop().cancel(timer_);
  end_wait_for_primary();
  if (queued_) session_.worker_.shared().gate.withdraw(session_.id());
}

TimePoint Login::now() const { return session_.worker_.loop().now(); }
std::shared_ptr<bool> Login::alive() {
  if (!alive_) alive_ = std::make_shared<bool>(true);
  return alive_;
}

LoginMemory& Login::memory() const { return session_.worker_.shared().logins; }

void Login::start() {
  const auto limit = session_.settings().authentication_timeout;
  if (limit.count() == 0) return;
  timer_ = session_.worker_.loop().after(limit, [this, limit] {
    timer_ = 0;
    if (state_ == State::server && pending_ && pending_->in_queue()) {
      const pool::KeyPoolPtr keys = key_pool(session_.pending_node_);
      return refuse(no_link_in_time(limit, session_.worker_.shared().accounts.server_bounds(keys->key)));
    }
    refuse(fatal(sqlstate::kInvalidAuthorization, "canceling authentication due to timeout"));
  });
}

std::size_t Login::take(ByteView input) {
  std::size_t used = 0;
  const Lifetime::Watch watch(lifetime_);
  while (watch.alive() && state_ == State::startup && input.size() - used >= 4) {
    const std::uint32_t length = load_u32(input.data() + used);
    if (length < 8 || length > wire::kMaxStartup) {
      refuse(fatal(sqlstate::kProtocolViolation, "invalid length of startup packet"));
      return input.size();
    }
    if (input.size() - used < length) return used;
    const ByteView packet = input.substr(used + 4, length - 4);
    used += length;
    on_startup(packet);
  }
  while (watch.alive() && state_ == State::client && input.size() - used >= wire::kHeaderBytes) {
    const std::uint32_t length = load_u32(input.data() + used + 1);
    if (input[used] != wire::fe::kPassword || length < 4 || length > kMaxPasswordMessage) {
      refuse(fatal(sqlstate::kProtocolViolation, "expected password response"));
      return input.size();
    }
    if (input.size() - used < length + 1) return used;
    const ByteView payload = input.substr(used + wire::kHeaderBytes, length - 4);
    used += length + 1;
    on_step(client_auth_->on_message(payload));
  }
  return used;
}

void Login::on_startup(ByteView packet) {
  if (AskedPtr same = session_.worker_.recent_startups().find(packet)) {
    session_.vs_.start_with(same->parameters);
    return asked_for(std::move(same));
  }
  const auto startup = wire::parse_startup(packet);
  if (!startup) return refuse(fatal(sqlstate::kProtocolViolation, "invalid startup packet"));
  on_new_startup(*startup, packet);
}

void Login::on_new_startup(const wire::Startup& startup, ByteView packet) {
  using Kind = wire::Startup::Kind;
  if (startup.kind == Kind::ssl_request || startup.kind == Kind::gss_request) {
    const bool ssl = startup.kind == Kind::ssl_request;
    // As a server has it: the second one is a version that nobody speaks.
    if (std::exchange(ssl ? asked_ssl_ : asked_gss_, true))
      return refuse(unsupported_protocol(1234, ssl ? 5679 : 5680));
    session_.client_.add("N", false);  // no TLS yet, no GSS ever
    session_.client_.flush();
    return;
  }
  if (startup.kind == Kind::cancel) return on_cancel(startup);
  if (startup.major != 3) return refuse(unsupported_protocol(startup.major, startup.minor));
  const auto asked = std::make_shared<Asked>();
  if (!read_parameters(startup, *asked)) return;
  asked->minor = std::min(startup.minor, 2);
  if (startup.minor > 2 || startup.minor == 1 || !startup.unknown_options.empty()) {
    if (startup.minor == 1) asked->minor = 0;
    wire::put_negotiate(asked->negotiation, asked->minor, startup.unknown_options);
  }
  session_.worker_.recent_startups().add(packet, asked);
  asked_for(asked);
}

void Login::asked_for(AskedPtr asked) {
  result_.asked = std::move(asked);
  LogContext& who = session_.who_;
  who.user = user();
  who.database = result_.asked->database;
  who.application = "[unknown]";
  if (!result_.asked->application.empty()) who.application = result_.asked->application;
  if (!result_.asked->negotiation.empty()) {
    session_.client_.own() += result_.asked->negotiation;
    session_.client_.added_own();
  }
  enter_gate();
}

bool Login::read_parameters(const wire::Startup& startup, Asked& asked) {
  std::vector<std::pair<std::string, std::string>> settable;
  for (const auto& [name, value] : startup.parameters) {
    if (name == "user") {
      asked.user = value;
    } else if (name == "database") {
      asked.database = value;
    } else if (name == "replication") {
      if (value == "false" || value == "off" || value == "no" || value == "0") continue;
      refuse(fatal(sqlstate::kFeatureNotSupported, "replication connections are not supported",
                   "Connect to the PostgreSQL server directly."));
      return false;
    } else if (name == "options") {
      auto options = vsession::parse_startup_options(value);
      if (!options) {
        refuse(fatal(sqlstate::kSyntaxError, "invalid command-line argument in startup options: " + value));
        return false;
      }
      settable.insert(settable.end(), options->begin(), options->end());
    } else {
      if (name == "application_name") asked.application = value;
      settable.emplace_back(name, value);
    }
  }
  if (asked.user.empty()) {
    refuse(fatal(sqlstate::kInvalidAuthorization, "no PostgreSQL user name specified in startup packet"));
    return false;
  }
  if (asked.database.empty()) asked.database = asked.user;
  if (auto taken = session_.vs_.set_startup_parameters(settable); !taken) {
    refuse(fatal(sqlstate::kSyntaxError, "invalid startup parameter: " + taken.error().text()));
    return false;
  }
  asked.parameters = session_.vs_.startup_parameters();
  return true;
}

void Login::on_cancel(const wire::Startup& startup) {
  state_ = State::done;
  Worker& here = session_.worker_;
  log_cancel(here.log(), session_.who_, session_.settings().log_client_messages, startup.pid);
  if (auto target = here.shared().cancels.find(startup.pid, startup.secret)) {
    // Closed only when the cancel has been dealt with: what the client sends after that must not be hit by it.
    Worker& there = here.workers().worker(target->worker);
    there.post([&there, &here, id = target->session, asker = session_.id()] {
      if (Session* session = there.find(id)) session->cancel_running();
      here.post([&here, asker] {
        if (Session* session = here.find(asker)) session->retire();
      });
    });
    return;
  }
  session_.retire();
}

void Login::enter_gate() {
  state_ = State::gate;
  const config::Settings& settings = session_.settings();
  const auto limit = static_cast<std::size_t>(settings.num_init_children);
  const auto reserved = static_cast<std::size_t>(settings.reserved_connections);
  const std::size_t refuse_from = reserved == 0 ? 0 : (reserved >= limit ? 1 : limit - reserved);
  ClientGate& gate = session_.worker_.shared().gate;
  switch (gate.enter({session_.worker_.id(), session_.id()}, limit, refuse_from)) {
    case ClientGate::Entry::in:
      return let_in();
    case ClientGate::Entry::refused:
      return refuse(too_many_clients(
          refuse_from > 0 ? "Raise num_init_children, or set reserved_connections to 0: then clients wait."
                          : "Raise num_init_children."));
    case ClientGate::Entry::wait:
      queued_ = true;
      if (gate.inside() >= limit && gate.tells(now())) {
        HG_LOG(session_.worker_.log(), session_.who_, Level::warning,
               "clients wait to be let in, because there are as many as num_init_children, {}", limit);
      }
      break;
  }
  net::Loop& loop = session_.worker_.loop();
  loop.cancel(std::exchange(timer_, 0));
  if (settings.client_wait_timeout.count() == 0) return;
  timer_ = loop.after(settings.client_wait_timeout, [this] {
    timer_ = 0;
    refuse(too_many_clients("Raise num_init_children or client_wait_timeout."));
  });
}

void Login::let_in() {
  const bool waited = std::exchange(queued_, false);
  if (state_ == State::done) return;
  inside_ = true;
  if (waited) {  // that was not the client's fault: it has its whole time from here on, and the rules of now hold for
                 // it
    session_.snapshot_ = session_.worker_.snapshot();
    session_.worker_.loop().cancel(std::exchange(timer_, 0));
    start();
  }
  find_rule();
}

void Login::find_rule() {
  const Snapshot& snapshot = *session_.snapshot_;
  policy_.user = user();
  policy_.database = result_.asked->database;
  policy_.enable_pool_hba = snapshot.settings->enable_pool_hba;
  if (policy_.enable_pool_hba) policy_.host = session_.peer().host();
  policy_.allow_clear_text_frontend_auth = snapshot.settings->allow_clear_text_frontend_auth;
  policy_.mock_secret = session_.worker_.shared().mock_secret.view();
  if (const config::PasswordEntry* entry = snapshot.passwords->find_user(user())) {
    const auth::StoredSecret stored = stored_secret(*entry);
    auto opened = auth::unlock(stored, snapshot.key);
    policy_.pool_passwd = opened ? *opened : stored;
  }
  policy_.server = memory().method(who_view(), now());
  if (policy_.enable_pool_hba && snapshot.hba) {
    config::HbaClient who;
    if (host_name_) who.host = *host_name_;
    who.is_local = session_.peer().is_unix();
    if (auto ip = config::parse_ip(session_.peer().host())) who.address = config::unmapped(*ip);
    who.database = result_.asked->database;
    who.user = user();
    who.interfaces = *snapshot.interfaces;
    if (!host_name_asked_ && config::needs_host_name(snapshot.hba->rules, who)) return ask_host_name();
    const config::HbaRule* rule = config::match(snapshot.hba->rules, who);
    if (rule != nullptr) policy_.rule = method_from(rule->method);
  }
  const bool asks = !policy_.pool_passwd.known() && !snapshot.settings->auth_query.empty();
  if (asks && auth::secret_matters(policy_)) return run_auth_query();
  decide();
}

// A line of pool_hba.conf names hosts: the client's name is looked up away from the loop, then the rules are read
// again.
void Login::ask_host_name() {
  host_name_asked_ = true;
  host_name_ = std::make_shared<std::string>();
  // Nobody is looked up who has gone while he was queued.
  const std::weak_ptr<std::string> wanted = host_name_;
  const bool queued = session_.worker_.names().submit(
      session_.worker_.loop(),
      [wanted, peer = session_.peer()] {
        if (const auto name = wanted.lock()) *name = net::verified_host_name(peer);
      },
      [this, alive = alive()] {
        if (*alive && state_ != State::done) find_rule();
      });
  if (!queued) refuse(fatal(sqlstate::kTooManyConnections, "too many logins at once"));
}

void Login::run_auth_query() {
  policy_.auth_query_used = true;
  const auto key = AuthQueries::key_of(session_.settings(), result_.asked->database, user());
  if (const auto known = memory().verifier(key, now())) {
    policy_.auth_query = *known;
    return decide();
  }
  if (primary_is_awaited()) return;
  state_ = State::auth_query;
  session_.worker_.auth_queries().ask(key, [this, alive = alive()](const AuthQueries::Found& verifier) {
    if (*alive && state_ == State::auth_query) on_auth_query(verifier);
  });
}

void Login::on_auth_query(const AuthQueries::Found& verifier) {
  if (!verifier) {
    const backend::OpenFailure& why = verifier.error();
    HG_LOG(session_.worker_.log(), session_.who_, Level::warning, "auth_query failed: {}", why.error.text());
    const bool streaming = session_.settings().backend_clustering_mode == config::ClusteringMode::streaming_replication;
    const bool unreachable = AuthQueries::unreachable(why);
    const NodeId node = session_.worker_.snapshot()->view->write_node();
    if (unreachable && node != kNoNode && streaming && wait_for_primary()) return;
    if (unreachable || AuthQueries::for_the_moment(why)) {  // to a driver 28000 would be a wrong password
      if (node == kNoNode) return refuse(no_node());
      wire::Report report = report_of(why, node);
      report.severity = "FATAL";
      return refuse(report);
    }
    return refuse(fatal(sqlstate::kInvalidAuthorization, "client authentication failed", "See the log for details."));
  }
  policy_.auth_query = *verifier;
  decide();
}

void Login::decide() {
  auth::Decision decision = auth::decide(policy_);
  if (auto* refusal = std::get_if<auth::Refusal>(&decision)) return refuse(*refusal);
  if (std::holds_alternative<auth::AskServer>(decision)) {
    state_ = State::server;
    return get_link();
  }
  auto& challenge = std::get<auth::ClientChallenge>(decision);
  if (!challenge.log_text.empty()) HG_LOG(session_.worker_.log(), session_.who_, Level::log, "{}", challenge.log_text);
  examine(std::move(challenge));
}

void Login::examine(auth::ClientChallenge&& challenge) {
  state_ = State::client;
  examined_ = true;
  if (challenge.method == auth::ClientChallenge::Method::trust) {
    if (auth::trusted_credentials(challenge, result_.credentials)) return client_proved();
    result_.credentials = {};
  }
  auto salts = auth::ClientSalts::draw(challenge.method);
  client_auth_ = std::make_unique<auth::ClientAuth>(std::move(challenge), std::move(salts));
  on_step(client_auth_->begin());
}

void Login::on_step(auth::Step step) {
  if (!step.send.empty()) {
    session_.client_.add(step.send, false);
    session_.client_.flush();
  }
  using Kind = auth::Step::Kind;
  switch (step.kind) {
    case Kind::need_more:
      return;
    case Kind::ok:
      result_.credentials = client_auth_->credentials();
      return client_proved();
    case Kind::failed:
      if (policy_.auth_query_used)
        memory().doubt_verifier(AuthQueries::key_of(session_.settings(), result_.asked->database, user()), now());
      return refuse(*step.refusal);
    case Kind::need_credentials:
      return refuse(fatal(sqlstate::kInternalError, "login went astray"));
    case Kind::need_hash:
      break;
  }
  auto keys = std::make_shared<Result<auth::ScramKeys>>();
  auto job = std::make_shared<auth::HashJob>(std::move(*step.job));
  const bool queued = session_.worker_.blocking().submit(
      session_.worker_.loop(), [keys, job] { *keys = job->run(); },
      [this, keys, alive = alive()] {
        if (*alive && state_ != State::done) on_step(client_auth_->on_hashed(std::move(*keys)));
      });
  if (!queued) refuse(fatal(sqlstate::kTooManyConnections, "too many logins at once"));
}

void Login::client_proved() {
  state_ = State::server;
  if (result_.link != nullptr) {  // a server that trusts has given a link already
    if (!result_.credentials.admitted) return refuse(auth::refuse_unproved(user()));
    return welcome(result_.link);
  }
  if (!result_.credentials.admitted) {
    const auto proved = memory().proved(who(), now());
    fresh_ = !proved || !auth::same_secret(*proved, result_.credentials);
  }
  if (link_is_needed()) return get_link();
  welcome(nullptr);
}

bool Login::link_is_needed() {
  result_.reported = memory().reported(who_view(), session_.vs_.startup_parameters()->fingerprint());
  if (fresh_ || session_.settings().pool_mode == config::PoolMode::session) return true;
  return result_.reported == nullptr;
}

// In a failover: until there is a primary, for failover_wait_timeout at most. False: waiting is switched off.
bool Login::wait_for_primary() {
  const config::Settings& settings = session_.settings();
  if (settings.failover_wait_timeout.count() == 0) return false;
  state_ = State::primary;
  const bool time_is_up = primary_until_ && now() >= *primary_until_;
  // Decided by an older snapshot than the worker has: what it waits for may have come, and nobody would say so again.
  if (session_.snapshot_ != session_.worker_.snapshot() && !time_is_up) {
    session_.worker_.loop().defer([this, alive = alive()] {
      if (*alive && state_ == State::primary) snapshot_came();
    });
  }
  end_wait_for_primary();
  if (!primary_until_) primary_until_ = now() + settings.failover_wait_timeout;
  primary_timer_ = session_.worker_.loop().after(std::max(Duration::zero(), *primary_until_ - now()), [this] {
    primary_timer_ = 0;
    wire::Report report = no_primary(session_.view(), session_.settings().failover_wait_timeout);
    report.severity = "FATAL";
    refuse(report);
  });
  return true;
}

void Login::end_wait_for_primary() { session_.worker_.loop().cancel(std::exchange(primary_timer_, 0)); }

// A failover is under way; true: the login goes on in snapshot_came().
bool Login::primary_is_awaited() {
  session_.snapshot_ = session_.worker_.snapshot();
  return session_.view().primary_awaited && session_.view().primary != kNoNode && wait_for_primary();
}

void Login::snapshot_came() {
  const cluster::View& now = *session_.worker_.snapshot()->view;
  if (state_ == State::primary && !now.primary_awaited) {
    end_wait_for_primary();
    return policy_.auth_query_used && !examined_ ? run_auth_query() : get_link();
  }
  const cluster::Node* node = now.find(session_.pending_node_);
  if (!pending_ || (node != nullptr && node->live())) return;
  pending_.reset();  // a link to a node that is down will not come
  get_link();
}

// With the identity of an earlier session like this one it need not be searched for.
pool::KeyPoolPtr Login::key_pool(NodeId node) const {
  pool::Pool& pool = session_.worker_.pool();
  if (const IdentityPtr last = result_.asked->identity.lock()) return last->key_pool(node, pool);
  return pool.key_pool({node, result_.asked->database, user()});
}

void Login::get_link() {
  state_ = State::server;
  if (primary_is_awaited()) return;
  const NodeId node = session_.view().write_node();
  if (node == kNoNode) return refuse(no_node());
  const pool::KeyPoolPtr keys = key_pool(node);
  session_.pending_node_ = node;
  const bool client_is_known = examined_;
  if (!fresh_ && client_is_known) {
    if (pool::ServerLink* link = session_.worker_.pool().try_take(*keys)) return on_link(link);
  }
  pool::Pool::Ask ask;
  ask.pool = keys;
  ask.fresh = fresh_ || !client_is_known;  // a link that is there already proves nothing
  if (client_is_known) ask.credentials = result_.credentials;
  ask.on_method = [this](auth::ServerMethod method, backend::Opener&) { on_server_method(method); };
  ask.deadline = session_.wait_deadline();
  pending_ =
      session_.worker_.pool().request(std::move(ask), [this](pool::Pool::Result link) { on_link(std::move(link)); });
}

// The server has asked, so the client is. Its slot in the pool does not wait for what he says, who may say nothing: the
// link is opened anew with what he has shown. Deferred: the opener is in the middle of telling.
void Login::on_server_method(auth::ServerMethod method) {
  policy_.server = method;
  memory().remember_method(who(), method, now());
  session_.worker_.loop().defer([this, alive = alive()] {
    if (!*alive || state_ != State::server) return;
    pending_.reset();
    decide();
  });
}

void Login::on_link(pool::Pool::Result link) {
  if (state_ == State::done) {
    const auto pending = std::move(pending_);
    if (link) session_.worker_.pool().give_back(**link, {});
    return;
  }
  const std::optional<auth::ServerMethod> method = pending_ ? pending_->method() : std::nullopt;
  const bool proved = pending_ && pending_->proved();
  const bool opened_now = method.has_value();
  auto pending = std::move(pending_);
  if (!link && link.error().cut_short() && ++cut_short_ <= kMaxCutShort) return get_link();
  const bool streaming = session_.settings().backend_clustering_mode == config::ClusteringMode::streaming_replication;
  const bool unreachable = !link && (link.error().against_node() || link.error().not_ready() ||
                                     link.error().error.code == make_error_code(pool::Errc::node_gone));
  if (unreachable && streaming && wait_for_primary()) return;
  if (!link) {
    if (link.error().login_refused()) memory().forget(who());
    wire::Report report = report_of(link.error(), session_.pending_node_);
    report.severity = "FATAL";
    return refuse(report);
  }
  session_.adopt(**link);
  if (opened_now) memory().remember_method(who(), *method, now());
  if (proved) memory().remember_proof(who(), result_.credentials, now());
  // A remembered method let the client in, and the server has meanwhile changed its mind: nobody has compared the
  // password. The new method is remembered now, so the next try is asked for it.
  if (opened_now && !policy_.enable_pool_hba && examined_ && policy_.server == auth::ServerMethod::trust &&
      *method != auth::ServerMethod::trust)
    return refuse(auth::refuse_unproved(user()));
  if (fresh_ && !proved) return refuse(auth::refuse_unproved(user()));
  if (!examined_ && !opened_now) return refuse(auth::refuse_unproved(user()));
  if (!examined_) {
    // The link was opened to learn the server's method, and the server trusts: the rules say what the client must show.
    policy_.server = method;
    auth::Decision decision = auth::decide(policy_);
    if (auto* refusal = std::get_if<auth::Refusal>(&decision)) return refuse(*refusal);
    if (std::holds_alternative<auth::AskServer>(decision)) return refuse(auth::refuse_unproved(user()));
    auto& challenge = std::get<auth::ClientChallenge>(decision);
    result_.link = *link;
    return examine(std::move(challenge));
  }
  welcome(*link);
}

void Login::welcome(pool::ServerLink* link) {
  session_.worker_.loop().cancel(std::exchange(timer_, 0));
  state_ = State::done;
  if (link != nullptr) result_.link = link;
  ++session_.worker_.clients().logins;
  session_.welcomed(result_);
}

void Login::refuse(const auth::Refusal& refusal) { refuse(refusal_report(refusal)); }

void Login::refuse(const wire::Report& report) {
  end_wait_for_primary();
  state_ = State::done;
  ++session_.worker_.clients().refused[static_cast<std::size_t>(kind_of(report))];
  wire::Report logged = report;
  logged.detail = logged.detail.empty() ? who_asks() : fmt::format("{} ({})", logged.detail, who_asks());
  session_.end(report, logged);
}

// As far as he has said it.
std::string Login::who_asks() const {
  const net::Address& peer = session_.peer();
  std::string host = "[local]";
  if (!peer.is_unix()) host = session_.settings().log_hostname ? session_.worker_.known_host_name(peer) : peer.host();
  if (!result_.asked) return fmt::format("host={}", host);
  return fmt::format("user={} database={} host={}", user(), result_.asked->database, host);
}

}  // namespace herdgate::session

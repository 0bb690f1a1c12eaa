// One client from accept to close: the data path. Reads requests, has them understood and routed, borrows links, sends,
// relays the answers, and keeps the virtual session in step with what the servers did.
//
// Shape    a state machine driven by three kinds of event: the client's socket (on_ready), its links (LinkUser), and
//          its own waits (pool, catalog, timers). pump() serves requests as long as nothing has to be waited for.
//          docs/life_of_a_query.md walks through it.
// Limits   input read ahead of a running request: kMaxReadAhead; reads from the client in one turn: kReadsPerTurn;
//          everything else is bounded by the parts it is made of.
// Errors   towards the client, by words.h; a session ends by retire(), which its worker carries out later.
// Threads  one worker, from accept to close.
// Source   PostgreSQL manual, "Message Flow"; ARCHITECTURE.md sections 1 and 3.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/recycled.h"
#include "config/session_settings.h"
#include "route/hold.h"
#include "route/route.h"
#include "session/client_stream.h"
#include "session/login.h"
#include "session/request.h"
#include "session/running.h"
#include "session/session_cache.h"
#include "session/session_log.h"
#include "session/worker.h"
#include "vsession/commit_fate.h"
#include "vsession/transaction_links.h"
#include "vsession/virtual_session.h"

namespace herdgate::session {

class Session final : public Recycled<Session>, public net::Watcher, public backend::LinkUser, private LogListener {
 public:
  static constexpr std::size_t kMaxReadAhead = 256 * 1024;
  static constexpr int kReadsPerTurn = 2;                 // of the worker's scratch buffer; then others have theirs
  static constexpr std::size_t kMaxGathered = 64 * 1024;  // of our own answers, before they are written
  static constexpr int kMaxReruns = 1;
  static constexpr std::size_t kOftenBytes = 768, kLinkBytes = 192;  // what a request touches of it and of its link
  static constexpr std::size_t kMaxNotices = 64 * 1024;              // of log lines for one request's client
  static constexpr std::size_t kMostOfText = 200;                    // in notices beyond that
  static constexpr Duration kOwnTimeout = std::chrono::seconds(30);  // for answers to what is ours, not the client's

  Session(Worker& worker, SessionId id, net::Socket socket, const net::Address& peer);
  ~Session() override;
  Result<Done> start();

  SessionId id() const { return id_; }
  net::Address peer() const { return peer_.address(); }
  // It waits for something that a new snapshot may bring; snapshot_came() says that there is one.
  bool waits_for_herd() const {
    return phase_ == Phase::held || phase_ == Phase::acquiring || phase_ == Phase::login || lost_commit_;
  }
  void snapshot_came();
  bool idle() const { return phase_ == Phase::idle && vs_.state().tx.status == vsession::TxStatus::idle; }
  report::SlotRow row() const;

  void let_in();          // the gate has opened
  void cancel_running();  // a cancel request came for this session
  void settings_changed();
  std::uint64_t told_commit() const { return told_commit_; }
  void commit_is_lost(std::uint64_t id, NodeId from, NodeId to);  // its next statement fails with that
  void end(const wire::Report& why) { end(why, why); }            // FATAL to the client, then closed
  void end(const wire::Report& why, const wire::Report& logged);  // what is logged says more

  void welcomed(const LoginResult& login);  // the login is over: the client is in

  void approach(int others) const override;
  void on_ready(unsigned ready) override;
  void on_unsent(std::string_view rest, int errno_value) override;
  void on_rows(backend::Link& link, const backend::Debt& head, ByteView bytes, bool stable) override;
  void on_reply(backend::Link& link, const backend::Debt& head, const backend::Message& message, bool done) override;
  bool takes_answers(const backend::Debt& head) const override;
  void on_answer(backend::Link& link, const backend::Answer& answer) override;
  void on_ended(backend::Link& link, const backend::Debt& debt, backend::Ended how) override;
  void on_async(backend::Link& link, const backend::Debt* head, const backend::Message& message) override;
  void on_notification(backend::Link& link, const backend::Message& message);
  void on_chunk_end(backend::Link& link) override;
  void on_drained(backend::Link& link) override;
  void on_lost(backend::Link& link, const Error& why) override;

 private:
  friend class Login;
  friend class SessionCache;
  friend class OwnCommands;
  enum class Phase : std::uint8_t { login, idle, lookup, held, acquiring, replaying, asking, running, closed };
  enum class Next : std::uint8_t { served, waiting, stop };

  // Input and the serving of requests (session.cc).
  void read_client();
  void read_later();
  void pump();
  std::size_t serve_input(ByteView input);
  Next serve(ByteView input, std::size_t& used);
  Next serve_copy(const Request& request, ByteView input, std::size_t& used);
  Next pass_rest(ByteView input, std::size_t& used);
  void rest_follows();
  bool ignores_until_sync() const;
  bool copies_in() const;
  Next serve_in_copy(const Request& request, ByteView input, std::size_t& used);
  void flush_copy_end();
  void finish_request();
  void go_on();
  void client_ended();
  void cancel_on(pool::ServerLink& link);
  Next wait_for_cancel(pool::ServerLink& link);
  bool server_is_slow() const;
  bool client_must_wait() const;
  void release_idle_links();
  void count_time();
  void stop_running();
  void retire();
  void arm_idle_timer();
  bool unit_is_answered() const;
  void take_isolation(ByteView rows);
  void greet_anew(const Greeting& greeting);
  void greet(const Greeting& greeting, const LoginMemory::Report& reported);
  Result<Done> set_own(std::string_view name, std::string_view value);
  Result<Done> reset_own(std::string_view name);
  void reset_all_own();

  // Log (session_log.cc).
  void log_from_client(ByteView message);
  void log_backend_message(const backend::Link& link, char type);
  void log_rows(const backend::Link& link, ByteView bytes);
  bool hears(Level level) const override;
  void tell(const LogLine& line) override;
  void give_notices();
  void heed_own_levels();
  void note_trace(std::string_view text);

  // Simple queries (session_query.cc).
  Next serve_query(ByteView input, std::size_t& used);
  void understand(ByteView input, std::string_view text);
  Next plan_explained(std::string_view text, Explained& into);
  bool tells_client(Level level) const;
  bool announces() const {
    return own().log_per_node_statement(settings()) || own().notice_per_node_statement(settings());
  }
  void announce(const backend::Link& link, std::string_view what, std::string_view text);
  void announce_query(const sql::Statement& first, std::string_view text, pool::ServerLink& link);
  Next serve_function_call(ByteView input, std::size_t& used);
  bool answer_locally(const sql::Facts& facts, std::string_view text);
  bool goes_to_process(const sql::Facts& facts) const;
  route::Plan plan_to_process(int pid, const report::Server& server);
  Next plan_terminate(int pid);
  void log_if_unparsable(const sql::Facts& facts, std::string_view text);
  void ask_workers(std::function<void(const report::Server&)> then);
  bool asks_id_behind(const sql::Facts& facts);
  void forget_pending_of_transaction();
  bool hears_of_loss(sql::Kind kind) const;
  Next delete_from_cache(const sql::Statement& command);

  // Where a statement goes (session_planning.cc).
  const vsession::SessionState& state_to_plan_by();
  route::Input routing_input(const sql::Facts& facts, std::string_view text, const sql::Answers& answers);
  void before_planning();
  Next decide(const sql::Facts& facts, std::string_view text, Explained& into);
  Next decide_or_recall(const sql::Facts& facts, std::string_view text, route::Plan& plan);
  Next decide_anew(const sql::Facts& facts, std::string_view text, route::Plan& plan, const route::Asked* asked);
  Next plan_query(const sql::Facts& facts, std::string_view text);
  void settle_transaction_node(NodeId node);
  NodeId transaction_node() const;
  std::string_view executed_text(const sql::Statement& statement, std::string_view text) const;
  const sql::Statement* prepared_statement(const sql::Statement& statement) const;
  Next look_up(const sql::Facts& facts, catalog::Found found);
  Next answers_for(const sql::Facts& facts, Explained& into);
  bool links_are_shared() const;
  bool asks_events(const sql::Facts& facts) const;
  bool may_run_event_triggers(const sql::Facts& facts) const;
  bool shows_old_definitions(const pool::ServerLink& link, const catalog::Found& found) const;

  // What a transaction begins and ends with, where no server knows of it (session_begin.cc).
  bool needs_server(sql::Kind kind) const;
  std::string_view begin_or_end_here(const sql::Statement& statement, std::string_view text,
                                     const std::shared_ptr<const sql::Facts>& facts);
  bool begin_or_end_by_unit(UnitMessages& messages);

  // Extended units (session_extended.cc).
  void log_messages(ByteView input, const UnitMessages& messages);
  static void may_be_there(pool::ServerLink& server, const std::string& name);
  vsession::PreparedPtr executed_by(const vsession::PreparedPtr& item);
  Next serve_unit(ByteView input, std::size_t& used);
  Next serve_messages(ByteView input, UnitMessages& messages, std::size_t& used);
  Next plan_unit(UnitMessages& messages);
  struct Seen;
  struct Planned;
  struct UnitPlan;
  Next plan_part(const Planned& part, UnitPlan& unit);
  Next plan_parts(UnitMessages& messages, UnitPlan& unit);
  void plan_behind(const Planned& part);
  Planned planned_in(UnitMessage& message, Seen& seen);
  bool runs_renamed(const sql::Statement& part, Seen& seen);
  void keep_to_unit(const route::Plan& before, bool more);
  void begins_with(Seen& seen, const sql::Facts& facts);
  bool tell_of_loss(UnitMessages& messages);
  Next plan_explained_in(ByteView messages);
  void cut_unit(UnitMessages& messages, std::size_t until, ByteView& input);
  Next run_unit(ByteView input, UnitMessages& messages, std::size_t& used);
  class NameSet;
  ByteView local_part(ByteView input, UnitMessages& messages);
  bool needs_no_server(UnitMessage& message, NameSet& parsed, NameSet& bound);
  const std::shared_ptr<const sql::Facts>& facts_of(UnitMessage& parse);
  const vsession::PreparedPtr& named_in(const UnitMessage& message, const UnitMessages& of) const;
  static const vsession::PreparedPtr& may_be_anything();
  bool stalls(backend::Link& link, std::size_t unit_bytes);
  void unit_parse_undone(std::size_t item, backend::Ended how);
  void unit_close_undone(std::size_t item);
  void close_undone(const vsession::PreparedPtr& closed);
  void unit_item_ended(backend::Link& link, const backend::Debt& debt, backend::Ended how);
  friend class UnitWriter;

  // Statements that another link may take for something else than their sessions were told (session_described.cc).
  void note_refused(const backend::Link& link, const backend::Debt& head, std::string_view sqlstate);
  void note_changed(const vsession::PreparedStatement& statement);
  std::uint64_t results_epoch() const;
  bool compares_described() const;
  bool has(pool::ServerLink& link, const vsession::PreparedStatement& statement) const;
  bool runs_otherwise(const vsession::PreparedStatement& statement, pool::ServerLink& link) const;
  std::size_t first_to_describe(const UnitMessages& messages, pool::ServerLink& link);
  void describe_ahead(const vsession::PreparedPtr& statement, pool::ServerLink& link);
  void end_ahead();
  void description_came(backend::Link& link, const backend::Debt& head, const backend::Message& message);

  // Statements of the protocol under their own names (session_names.cc).
  vsession::PreparedPtr wants_own_name(std::string_view name, pool::ServerLink& link);
  void not_under_own_name(const backend::Link& link, const backend::Debt& debt);
  void give_own_names(const sql::Facts& facts, pool::ServerLink& link);
  std::uint64_t unit_dropped(const backend::Link& link, const vsession::PreparedPtr& by, bool ok);
  std::optional<Unit::Dropped> take_dropped(const vsession::PreparedPtr& by, bool by_close);
  void unit_close_ended(const backend::Link& link, const vsession::PreparedPtr& closed, bool ok);
  void dropped_is_back(const pool::ServerLink& lost);

  // Links (session_links.cc).
  pool::ServerLink* held(NodeId node) const;
  pool::ServerLink* of(const backend::Link& link) const;
  Next take_link(pool::ServerLink*& link, std::size_t& used);
  Next acquire(NodeId node, pool::ServerLink*& link);
  void acquired(pool::Pool::Result result);
  void adopt(pool::ServerLink& link);
  // `instead`: of the session's parameters, when not null.
  Next bring_up(pool::ServerLink& link, bool in_transaction, const vsession::ParameterSetPtr& instead = nullptr);
  vsession::ParameterSetPtr without_overwritten(const sql::Facts& facts) const;
  vsession::ParameterSetPtr without_overwritten(ByteView unit);
  void wait_for_our_own(Phase phase, const backend::Link& link);
  bool waits_for(const backend::Link& link) const;
  void own_wait_over();
  void bring_up_named(pool::ServerLink& link);
  void join(pool::ServerLink& link, char status);
  std::string begin_text(const pool::ServerLink& link) const;
  Deadline wait_deadline() const;
  void release_links(bool session_ends);
  void drop_link(pool::ServerLink& link, const Error& why);
  void send_ends(const vsession::TransactionLinks::Ends& ends);
  bool give_way();
  void part(pool::ServerLink& link);
  void give_back(pool::ServerLink& link, bool session_ends);
  NodeId node_for(const route::Plan& plan) const;
  bool ends_where_it_is() const;
  pool::KeyPoolPtr& key_pool(NodeId node);
  catalog::Viewpoint viewpoint() const;
  bool has_own_names() const;
  bool state_unknown() const;
  void note_unseen(pool::ServerLink& link) const;
  std::optional<TimePoint> shown_by(const pool::ServerLink& link) const;
  NodeId lb_node();

  // Waiting for a primary, or for PGPOOL RESUME (session_waiting.cc).
  route::Hold restrained(NodeId node, bool write) const;
  bool is_stand_in(NodeId node) const;
  Next hold_back(route::Hold why, NodeId node);
  void end_hold();
  void hold_expired();
  bool said_goodbye() const;
  void ask_whether_gone();
  void serve_anew();
  bool begins() const;
  bool wait_after_failure(const backend::OpenFailure& failure);
  bool wait_for_room(const backend::OpenFailure& failure);
  bool holds_link() const;
  bool read_elsewhere();
  bool reads_elsewhere();
  bool falls_back();
  bool left_out(NodeId node);

  // Answers (session_reply.cc).
  static constexpr std::size_t kMostAside = 256 * 1024;  // octets of what servers say unasked; then they wait
  bool tells_why_rolled_back();
  bool mid_message() const;
  void say_aside(ByteView message);
  void say_aside(backend::Link& link, ByteView message);
  void give_asides();
  void transaction_over();
  void reply_error(const backend::Link& link, const backend::Debt& head, const backend::Message& message);
  bool error_is_ours(const backend::Link& link, const backend::Debt& head, const wire::ServerReport& report);
  void long_error(const backend::Link& link, const backend::Debt& head, const backend::Message& message);
  void reply_ready(pool::ServerLink& link, ByteView message, bool stable);
  void statement_completed(const backend::Debt& debt, ByteView payload);
  void clients_own_ended(backend::Link& link, const backend::Debt& debt, backend::Ended how);
  void execute_ended(backend::Link& link, const backend::Debt& debt, backend::Ended how);
  void hold_over(const backend::Link& link);
  void request_ended(const backend::Link& link, const backend::Debt& debt);
  void commit_failed();
  bool missing_named(const backend::Link& link, const wire::ServerReport& report);
  void lookup_done();
  void replay_done();
  void not_prepared(backend::Link& link, const backend::Debt& debt);
  bool forget_interned(const backend::Link& link, const backend::Debt& head);
  bool forward_head();
  void drop_request_from_input();
  void say_error(const wire::Report& report);
  void say_ready();
  void fail_request(const wire::Report& report);

  // What servers report of settings (session_reported.cc).
  void on_parameter_status(backend::Link& link, const backend::Debt* head, const backend::Message& message);
  void note_told(int place, std::string_view value);
  void tell_reported(pool::ServerLink& link);
  void forget_told();

  // What a statement has done (session_record.cc).
  void note_statement(std::size_t index, bool ok);
  void executed_done(const vsession::PreparedPtr& first, std::uint64_t until);
  void others_follow(const sql::Statement& statement, NodeId node, sql::Isolation before);
  void note_done(const sql::Statement& statement, std::string_view text, bool ok,
                 const std::shared_ptr<const sql::Facts>& facts,
                 std::uint64_t until = vsession::VirtualSession::kUntilNow);

  // A link is lost (session_losses.cc).
  vsession::TransactionLinks::Under what_is_under_way(const pool::ServerLink& lost);
  bool may_learn_outcome() const;
  void run_again();
  void tell_loss(const vsession::TransactionLinks::Loss& loss, NodeId node, const std::string& why,
                 std::string_view farewell);

  // commit_outcome_check (commit_outcome.cc).
  void ask_transaction_id(pool::ServerLink& link, bool sync);
  bool asks_id(const backend::Debt& debt) const;
  static void renew_transaction_question(pool::ServerLink& link);  // the link may not have it
  void take_transaction_id(ByteView row);
  void forget_transaction_id();
  void learn_outcome(NodeId node, const std::string& why);
  void ask_outcome();
  void outcome_answered(const Result<backend::Rows>& rows, std::string_view sqlstate, bool works);
  void outcome_learned(vsession::Fate fate);
  void close_outcome();
  void forget_lost_commit();

  Running& begin_running();
  // What exists only while something is served; made when first needed, gone when the request and its unit are.
  Running& run() { return run_ ? *run_ : begin_running(); }
  Work& work() { return run().work; }
  Unit& unit() { return run().unit; }
  pool::ServerLink* at_work() const { return run_ ? run_->work.link : nullptr; }  // the link that serves the request
  bool unit_open() const { return run_ && run_->unit.open; }
  bool unit_skips() const { return run_ && run_->unit.skip; }
  bool unit_stalls() const { return run_ && run_->unit.stalled; }
  pool::ServerLink* unit_link() const { return unit_open() ? run_->unit.link : nullptr; }
  const config::SessionSettings& own() const { return own_ ? *own_ : kNothingSet; }
  const config::Settings& settings() const { return *snapshot_->settings; }
  const cluster::View& view() const { return *snapshot_->view; }
  // The search_path that the session has set, or else that which its links have been given.
  const std::string& path_key() const { return cache_ ? cache_->path_key() : vs_.search_path_key(); }
  // By whose rights its statements run.
  const std::string& role() const { return vs_.role_key().empty() ? identity_->user : vs_.role_key(); }

  static const config::SessionSettings kNothingSet;

  // Kept small: there may be very many sessions, and most of them are idle.
  Worker& worker_;
  SessionId id_;
  net::Peer peer_;
  Phase phase_ = Phase::login;
  bool readable_ = false, hangup_ = false, ended_ = false;  // of the client's stream
  bool reads_later_ = false;                                // a timer reads on in the next turn
  bool finished_in_chunk_ = false;                          // what is waited for has come with the chunk being read
  bool serving_ = false;                                    // serve_input() is on the stack
  bool superuser_ = false;                                  // as the server said at the login
  std::uint64_t epoch_before_ = 0;                          // of definitions, when its last transaction had not begun
  std::optional<catalog::Epochs::Change> ddl_in_transaction_;  // its commit makes cached catalog answers old once more
  bool defaults_altered_ = false;                              // its commit changes what new sessions begin with
  bool planned_otherwise_ = false;       // a statement was run by other settings than it was read by
  std::uint64_t unnamed_otherwise_ = 0;  // PreparedStatement::generation of the unnamed one that was last
  bool servers_reload_ = false;          // it has had a server read its configuration anew
  bool replay_refused_ = false;          // a server has refused what was to be set again
  NodeId pending_node_;
  bool xid_asked_ = false;          // the answer has not come yet
  std::uint16_t xid_question_ = 0;  // number of the last question; Debt::item
  std::uint64_t xid_ = 0;           // of the open transaction; 0: not known
  // Of the last transaction with a known id whose COMMIT the client was told of; 0: none.
  std::uint64_t told_commit_ = 0;
  std::int32_t pid_ = 0;  // as the client was told, with the secret for its cancel requests
  Bytes secret_;
  ClientStream client_;
  SnapshotPtr snapshot_;
  LogContext who_;
  IdentityPtr identity_;                           // null until the login is over
  std::unique_ptr<Login> login_;                   // gone at the end of the turn in which it was over
  std::unique_ptr<Greeting> greeting_;             // while the start-up parameters are replayed on the first link
  std::unique_ptr<config::SessionSettings> own_;   // PGPOOL SET; null: nothing set
  std::shared_ptr<const backend::Reported> told_;  // what the client knows; null until it was greeted
  // Of the servers' settings, in the query cache's terms: those that the client was told last, and since when at least.
  pool::Defaults told_defaults_ = pool::Defaults::unknown;
  std::uint64_t told_epoch_ = 0;
  vsession::VirtualSession vs_;
  std::unique_ptr<std::string> trace_;  // traceparent of the statement being served; who_ refers to it
  std::unique_ptr<Bytes> notices_;      // log lines that the client hears before the next ReadyForQuery
  bool notices_full_ = false;
  vsession::TransactionLinks parts_;
  Bytes in_;                      // read and not served yet
  std::size_t rest_missing_ = 0;  // octets of a CopyData or a streamed Bind still to come from the client
  RunningPtr run_;
  std::vector<pool::ServerLink*> links_;
  std::unique_ptr<pool::Pool::Pending> pending_;
  std::unique_ptr<Holding> holding_;  // in phase held
  std::unique_ptr<LostCommit> lost_commit_;
  std::unique_ptr<PendingError> pending_error_;     // told at the next statement
  std::unique_ptr<SessionCache> cache_;             // null: memory_cache_enabled is off
  std::unique_ptr<BackendMessageLog> message_log_;  // log_backend_messages
  net::TimerId idle_timer_ = 0, own_timer_ = 0;
  TimePoint own_since_;                      // phases lookup and replaying: since when
  const backend::Link* own_link_ = nullptr;  // … and for whose answers
  TimePoint last_active_;
  WallTime started_, connected_;
};

}  // namespace herdgate::session

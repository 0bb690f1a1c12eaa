// One client from accept to close: the data path. Reads requests, has them understood and routed, borrows links, sends,
// relays the answers, and keeps the virtual session in step with what the servers did.
//
// Shape    a state machine driven by three kinds of event: the client's socket (on_ready), its links (LinkUser), and
//          its own waits (pool, catalog, timers). pump() serves requests as long as nothing has to be waited for.
//          docs/life_of_a_query.md walks through it.
// Limits   input read ahead of a running request: kMaxReadAhead; everything else is bounded by the parts it is made of.
// Errors   towards the client, by words.h; a session ends by retire(), which its worker carries out later.
// Threads  one worker, from accept to close.
// Source   PostgreSQL manual, "Message Flow"; ARCHITECTURE.md sections 1 and 3.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/session_settings.h"
#include "route/route.h"
#include "session/client_stream.h"
#include "session/login.h"
#include "session/request.h"
#include "session/session_log.h"
#include "session/worker.h"
#include "vsession/virtual_session.h"

namespace herdgate::session {

// Whom an entry of a link's ledger is for.
enum Note : std::uint16_t {
  kNoteClient = 0,    // the client's own message
  kNoteReplay,        // bringing the link up to the session's state: parameters, BEGIN, prepared statements
  kNoteAcknowledged,  // the part of it that has to succeed before anything else is sent
  kNoteNamed,         // PREPARE and DEALLOCATE under the client's own names: an error shows at EXECUTE
  kNotePrepare,       // an interned statement prepared ahead of its Bind: an error is the client's
  kNoteCatalog,       // questions about relations and functions
  kNoteSecondary,     // the end of a transaction on the link that did not carry COMMIT
  kNotePoison,        // fails on purpose, in the place of an error that we found ourselves
};

// The request being served.
struct Work {
  Request request;
  std::shared_ptr<const sql::Facts> facts;      // simple query
  std::shared_ptr<const sql::Facts> explained;  // PGPOOL EXPLAIN ROUTE: of the statement in it
  route::Plan plan;
  bool planned = false, sent = false;
  bool ends_transaction = false;  // nothing but COMMIT or ROLLBACK: goes where the transaction is
  bool copy_over = false;         // COPY FROM: CopyDone or CopyFail has gone to the server
  bool hold = false;              // extended: may have started COPY; the rest waits for the server's word
  catalog::Found found;           // what the look-up under way is about
  const sql::Facts* found_for = nullptr;
  std::vector<std::pair<const sql::Facts*, sql::Answers>> learned;  // what look-ups of this request brought
  NodeId avoid = kNoNode;                                           // run again, but not there
  bool rerun = false, on_primary = false;  // decided while the answer came: run again (on the primary)
  bool forwarded = false;                  // a row, a tag or an error has gone to the client
  int heads = 0;                           // ParseComplete, RowDescription and the like that have
  bool failed = false;
  std::size_t statement = 0;  // simple query: index of the statement being answered
  std::string tag;            // of the last CommandComplete
  std::string executed;       // the statement that SQL's EXECUTE names
  Bytes copy;                 // the request's bytes, when it may be run again
  pool::ServerLink* link = nullptr;
};

class Session final : public net::Watcher, public backend::LinkUser {
 public:
  static constexpr std::size_t kMaxReadAhead = 256 * 1024;
  static constexpr int kMaxReruns = 1;
  static constexpr std::size_t kMaxItems = 65'000;  // messages between two Syncs that refer to statements

  Session(Worker& worker, SessionId id, net::Socket socket, const net::Address& peer);
  ~Session() override;
  Result<Done> start();

  SessionId id() const { return id_; }
  const net::Address& peer() const { return peer_; }
  bool in_login() const { return login_ != nullptr; }
  bool idle() const { return phase_ == Phase::idle && vs_.state().tx.status == vsession::TxStatus::idle; }
  report::SlotRow row() const;

  void let_in();          // the gate has opened
  void cancel_running();  // a cancel request came for this session
  void settings_changed();
  void end(const wire::Report& why);  // FATAL to the client, then closed

  void welcomed(LoginResult result);  // the login is over: the client is in

  void on_ready(unsigned ready) override;
  void on_rows(backend::Link& link, const backend::Debt& head, ByteView bytes, bool stable) override;
  void on_reply(backend::Link& link, const backend::Debt& head, const backend::Message& message, bool done) override;
  void on_ended(backend::Link& link, const backend::Debt& debt, backend::Ended how) override;
  void on_async(backend::Link& link, const backend::Debt* head, const backend::Message& message) override;
  void on_chunk_end(backend::Link& link) override;
  void on_drained(backend::Link& link) override;
  void on_lost(backend::Link& link, const Error& why) override;

 private:
  friend class Login;
  friend class OwnCommands;
  enum class Phase : std::uint8_t { login, idle, lookup, acquiring, replaying, running, closed };
  enum class Next : std::uint8_t { served, waiting, stop };

  // Input and the serving of requests (session.cc).
  void read_client();
  void pump();
  std::size_t serve_input(ByteView input);
  Next serve(ByteView input, std::size_t& used);
  Next serve_copy_data(ByteView input, std::size_t& used);
  void finish_request();
  void go_on();
  void client_gone();
  void retire();
  void arm_idle_timer();
  void greet(const std::map<std::string, std::string, std::less<>>& reported);

  // Simple queries (session_query.cc).
  Next serve_query(ByteView input, std::size_t& used);
  Next explain_route(std::string_view text);
  void announce(const backend::Link& link, std::string_view text);
  Next serve_function_call(ByteView input, std::size_t& used);
  bool answer_locally(const sql::Facts& facts, std::string_view text);
  bool end_unopened_transaction(const sql::Statement& statement, std::string_view text);
  Next plan_query(const sql::Facts& facts, std::string_view text);
  Next plan_terminate(int pid);
  std::string_view executed_text(const sql::Statement& statement, std::string_view text) const;
  const sql::Statement* prepared_statement(const sql::Statement& statement) const;
  Next look_up(const sql::Facts& facts, catalog::Found found);
  Next answers_for(const sql::Facts& facts, sql::Answers& answers);
  void note_statement(std::size_t index, bool ok);
  void note_done(const sql::Statement& statement, std::string_view text, bool ok,
                 const std::shared_ptr<const sql::Facts>& facts);

  // Extended units (session_extended.cc).
  Next serve_unit(ByteView input, std::size_t& used);
  Next plan_unit(ByteView unit);
  Next run_unit(ByteView unit, std::size_t& used);
  bool unit_is_local(ByteView unit);
  void unit_parse_undone(std::size_t item);
  void unit_item_ended(backend::Link& link, const backend::Debt& debt, backend::Ended how);
  friend class UnitWriter;

  // Links (session_links.cc).
  pool::ServerLink* held(NodeId node) const;
  pool::ServerLink* of(const backend::Link& link) const;
  Next acquire(NodeId node, pool::ServerLink*& link);
  void acquired(pool::Pool::Result result);
  void adopt(pool::ServerLink& link);
  Next bring_up(pool::ServerLink& link, bool in_transaction);
  void bring_up_named(pool::ServerLink& link);
  std::string begin_text(const pool::ServerLink& link) const;
  Deadline wait_deadline() const;
  void release_links(bool session_ends);
  void drop_link(pool::ServerLink& link, const Error& why);
  void end_secondary(bool commit);
  NodeId node_for(const route::Plan& plan) const;
  pool::KeyPoolPtr& key_pool(NodeId node);

  // Answers (session_reply.cc).
  void reply_error(const backend::Link& link, const backend::Debt& head, const backend::Message& message);
  void reply_ready(pool::ServerLink& link, const backend::Message& message);
  bool missing_named(const backend::Link& link, std::string_view state);
  void lost_while_running(NodeId node, const std::string& why, bool in_transaction);
  void lookup_done();
  void replay_done();
  void run_again();
  void not_prepared(backend::Link& link, const backend::Debt& debt);
  void forget_plans(pool::ServerLink& link);
  bool forward_head();
  void drop_request_from_input();
  void say_error(const wire::Report& report);
  void say_ready();
  void fail_request(const wire::Report& report);

  const config::Settings& settings() const { return *snapshot_->settings; }
  const cluster::View& view() const { return *snapshot_->view; }
  catalog::Viewpoint viewpoint() const;
  NodeId lb_node();

  Worker& worker_;
  SessionId id_;
  net::Address peer_;
  ClientStream client_;
  SnapshotPtr snapshot_;
  LogContext who_;
  config::SessionSettings own_;
  std::unique_ptr<Login> login_, old_login_;
  LoginResult identity_;
  vsession::VirtualSession vs_;
  Phase phase_ = Phase::login;
  Bytes in_;
  std::size_t copy_missing_ = 0;  // octets of a CopyData (or a swallowed message) still to come from the client
  bool copy_swallow_ = false;
  std::size_t stream_missing_ = 0;  // octets of a streamed Bind still to come
  Work work_;
  int reruns_ = 0;
  int known_heads_ = 0;  // run again: this many of them the client has already
  std::vector<pool::ServerLink*> links_;
  std::map<NodeId, pool::KeyPoolPtr> key_pools_;
  std::unique_ptr<pool::Pool::Pending> pending_;
  NodeId pending_node_;
  std::map<std::string, vsession::PreparedPtr, std::less<>> portals_;
  std::vector<vsession::PreparedPtr> items_;  // extended: what the messages since the last Sync refer to
  Bytes lookup_rows_;
  bool lookup_failed_ = false;
  std::optional<wire::Report> replay_error_;
  std::optional<wire::Report> named_error_;    // why a PREPARE could not be repeated on the link of this request
  bool greeting_ = false;                      // the replay of the start-up parameters is under way
  std::optional<wire::Report> poison_;         // the error that takes the place of the poisoned one
  std::optional<wire::Report> pending_error_;  // told at the next statement: a link of the open transaction was lost
  std::unique_ptr<BackendMessageLog> message_log_;  // log_backend_messages
  void log_backend_message(const backend::Link& link, char type);
  void log_rows(const backend::Link& link, ByteView bytes);
  std::string server_farewell_;  // what a FATAL of a server said before its link was lost
  net::TimerId idle_timer_ = 0;
  TimePoint last_active_;
  WallTime started_, connected_;
  std::uint64_t requests_ = 0;
  bool readable_ = false, eof_ = false, finished_in_chunk_ = false, cut_open_ = false;
  bool serving_ = false;             // serve_input() is on the stack
  bool skip_to_sync_ = false;        // an error of ours: the rest of the unit is dropped
  bool ddl_in_transaction_ = false;  // its commit makes cached catalog answers old once more
};

}  // namespace herdgate::session

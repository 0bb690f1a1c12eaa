// What a session keeps only while something of its client is being served. An idle session has none of it.
//
// Shape    Work: the request being served. Unit: the extended unit (Parse … Sync) it belongs to, which may be longer
//          than one request. Running: both, and what they share; lent by the worker from its spare ones.
// Limits   kMaxItems in a unit, kMaxParsedBytes of statements it defines; the rest is bounded by the request.
// Threads  the worker of its session.
#pragma once
#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/client.h"
#include "catalog/catalog.h"
#include "net/timers.h"
#include "pool/server_link.h"
#include "route/hold.h"
#include "route/route.h"
#include "session/request.h"
#include "vsession/virtual_session.h"
#include "wire/backend.h"

namespace herdgate::session {

// Whom an entry of a link's ledger is for.
enum Note : std::uint16_t {
  kNoteClient = 0,     // the client's own message
  kNoteReplay,         // bringing the link up to the session's state: parameters, BEGIN, prepared statements
  kNoteAcknowledged,   // the part of it that has to succeed before anything else is sent
  kNoteNamed,          // PREPARE and DEALLOCATE under the client's own names: an error shows at EXECUTE
  kNoteOwnName,        // a statement of the protocol under its own name within a unit: an error is the client's
  kNotePrepare,        // an interned statement prepared ahead of its Bind: an error is the client's
  kNoteDescribed,      // what a statement is described as, asked ahead of its Bind or when it was defined: the same
  kNoteDefaults,       // what the link's login has given it, for the query cache
  kNoteIsolation,      // the isolation level that it begins transactions with, at a login
  kNoteCatalog,        // questions about relations and functions
  kNoteSecondary,      // the end of a transaction on the link that did not carry COMMIT
  kNoteTransactionId,  // commit_outcome_check
  kNotePoison,         // fails on purpose, in the place of an error that we found ourselves
};

constexpr std::uint16_t kLastOfReplay = 1;  // the item of a Debt: behind it the link has what the session has set

// A statement, what is known of it, and where it would go.
struct Explained {
  std::shared_ptr<const sql::Facts> facts;
  sql::Answers answers;
  TimePoint until = TimePoint::max();  // the answers may be kept so long; min(): not at all
  route::Plan plan;
};

// A question to the catalog that a server is answering.
struct LookUp {
  catalog::Found found;
  std::shared_ptr<const sql::Facts> about;
  Bytes rows;
  bool failed = false;
  std::optional<wire::Report> error;  // what the server said instead of an answer
};

// What only few requests come to need.
struct Seldom {
  std::vector<std::shared_ptr<const sql::Facts>> explained;  // PGPOOL EXPLAIN ROUTE: of the statements in it
  LookUp look_up;
  // What look-ups of this request brought. The facts are kept: others could come to lie at the same address.
  std::vector<std::pair<std::shared_ptr<const sql::Facts>, sql::Answers>> learned;
};

// A request that has not run, statement by statement: where it fails, a BEGIN ahead of that has been heard.
struct Begins {
  bool first = false;  // what was seen leaves a transaction open, up to the first that does anything else
  bool now = false;    // … all of it
  bool works = false;  // there is something else
  void see(sql::Kind kind);
};

// How far a request has come: plain values, put back in one assignment.
struct Progress {
  bool planned = false;
  bool ends_transaction = false;  // nothing but COMMIT or ROLLBACK: goes where the transaction is
  Begins begins;
  bool ends = false;        // COMMIT or ROLLBACK is among it
  bool marks = false;       // SAVEPOINT is among it
  bool chained = false;     // what ended last is AND CHAIN: in the transaction of now nothing has run
  bool may_commit = false;  // COMMIT or the like is among it: when its link is lost, nobody knows what became of it
  bool waits = false;       // it is a unit, or a part of one, that is still at the head of the input
  bool cancel = false;      // asked for while nothing of the client's was running
  bool logged = false;      // a function call: log_client_messages has told of it
  bool copy_over = false;   // COPY FROM: CopyDone or CopyFail has gone to the server
  // How the answer goes.
  bool failed = false;
  bool forwarded = false;  // a row, a tag or an error has gone to the client
  int heads = 0;           // ParseComplete, RowDescription and the like that have
  pool::ServerLink* link = nullptr;
  std::size_t statement = 0;  // simple query: index of the statement being answered
  // Running it again.
  bool rerun = false;             // decided while the answer came
  bool on_primary = false;        // … or because its standby cannot be had: nowhere else
  NodeId avoid = kNoNode;         // it does not run here
  bool writes_after_all = false;  // a standby has refused it, because it writes or locks
  // Held back.
  std::optional<Deadline> hold_until;  // since it was held first, however often that happens
  int hold_failures = 0;               // connections that failed after the primary was said to work
};

// The request being served. Used for one request after the other: reset() between them leaves its buffers in place,
// where destroying and making it anew was a seventh of what a short statement took.
struct Work : Progress {
  static constexpr std::size_t kMaxKeptCapacity = 4096;
  Request request;
  std::shared_ptr<const sql::Facts> facts;  // simple query
  route::Plan plan;
  std::optional<vsession::SessionState> behind;  // what the unit that is being planned has begun, set or ended
  std::string tag;                               // of the last CommandComplete
  std::string executed;                          // the statement that SQL's EXECUTE names
  Bytes copy;                                    // the request's bytes, when it may be run again
  std::unique_ptr<Seldom> rest;

  Seldom& seldom() {
    if (!rest) rest = std::make_unique<Seldom>();
    return *rest;
  }
  LookUp& look_up() { return seldom().look_up; }
  void reset() {
    static_cast<Progress&>(*this) = Progress{};
    request = Request{};
    facts.reset();
    plan.node = kNoNode;
    plan.write = plan.both = plan.stays = plan.idless = plan.opaque = plan.unseen = plan.rerunnable = false;
    plan.rule = route::Plan{}.rule;
    plan.detail.clear();
    tag.clear();
    executed.clear();
    copy.clear();
    if (copy.capacity() > kMaxKeptCapacity) Bytes().swap(copy);
    rest.reset();
  }
};

// Parse … Sync. One with a Flush in it, or a long one, is sent in parts: it is open until its Sync.
struct Unit {
  static constexpr std::size_t kMaxItems = 65'000, kMaxKeptItems = 64;
  static constexpr std::size_t kMaxParsedBytes = 4 << 20;
  std::vector<vsession::PreparedPtr> items;  // what the messages under way refer to; Debt::item is a place in here
  std::size_t parsed_bytes = 0;              // texts that Parse has put among them
  std::vector<std::uint64_t> undone;         // generations of statements whose Parse was not carried out, ascending
  struct Replaced {
    vsession::PreparedPtr by, before;
  };
  std::vector<Replaced> replaced;  // unnamed statements by a Parse that may yet be skipped
  // By DEALLOCATE, DISCARD ALL or a Close, which may yet fail: what follows in the unit finds them gone.
  struct Dropped {
    vsession::PreparedPtr by;  // the statement that drops them; of a Close: the one it closes
    bool by_close = false;
    std::uint64_t until = 0;                    // the generation of then
    std::vector<vsession::PreparedPtr> closed;  // empty of a Close
    // Of the link's memory.
    std::map<std::string, pool::NamedStatement> named;
    std::vector<std::string> interned;
  };
  std::vector<Dropped> dropped;
  pool::ServerLink* link = nullptr;  // where all of an open unit goes
  bool open = false;
  bool hold = false;    // an Execute may have started COPY, or a statement is being described: the
                        // rest waits for the server's word
  bool skip = false;    // an error of ours: everything up to Sync is dropped
  bool failed = false;  // the server skips what is left of it
  // All that was sent for it so far prepares its first statement: its link lost, it is served elsewhere.
  bool ahead = false;
  // The statement that was last prepared ahead for being described: which, and whether by the types that its session
  // was told of.
  std::uint64_t asked = 0;
  bool asked_as_told = false;
  std::size_t logged = 0;              // log_client_messages: octets ahead of which messages have been told of already
  bool sets = false;                   // one that may set something has been written
  bool stalled = false;                // more replies are owed than is good: the rest waits for some of them
  std::optional<wire::Report> poison;  // the error that takes the place of the poisoned one

  // Off the head of the input.
  void taken(std::size_t octets) { logged -= std::min(logged, octets); }
  bool is_full(std::size_t more) const { return items.size() + more > kMaxItems || parsed_bytes > kMaxParsedBytes; }
  // Nothing is owed: no message refers to them, and no Parse is skipped any more.
  void forget_items() {
    items.clear();
    replaced.clear();
    parsed_bytes = 0;
  }
  void forget() {
    forget_items();
    undone.clear();
    dropped.clear();
    poison.reset();  // one that was skipped behind an error of the server's
    asked = 0;
    sets = false;
  }
  void reset() {
    forget();
    if (items.capacity() > kMaxKeptItems) std::vector<vsession::PreparedPtr>().swap(items);
    link = nullptr;
    logged = 0;
    open = hold = skip = failed = ahead = stalled = false;
  }
};

// The request waits, unsent.
struct Holding {
  route::Hold why = route::Hold::primary;
  NodeId node = kNoNode;
  net::TimerId timer = 0;
  bool client_asked = false;  // Session::ask_whether_gone()
};

// What the client hears in place of an answer to its next statement.
struct PendingError {
  wire::Report report;
  bool of_transaction = true;  // a link of the open one was lost: with it the error is over. Else nothing takes it back
  bool had_failed = false;     // and the client knew: who goes back to a savepoint is told why there is none
};

// A COMMIT got no answer, and what came of it is asked of the primary that there is afterwards.
struct LostCommit {
  std::uint64_t xid = 0;
  NodeId node = kNoNode;  // where it was sent
  std::string why;        // how the link was lost
  std::unique_ptr<backend::Client> client;
  net::TimerId limit = 0, again = 0;
  bool counted = true;  // in Shared::outcomes_open
};

struct Running {
  Work work;
  Unit unit;
  TimePoint began{};  // when the request was taken up; the clock's beginning: none is being served
  int reruns = 0;
  int known_heads = 0;                       // run again: this many of them the client has already
  std::optional<Bytes> parameters;           // of a statement that is being described: its columns follow
  std::optional<wire::Report> replay_error;  // why the link could not be brought up
  std::optional<wire::Report> named_error;   // why a PREPARE could not be repeated on it
  Bytes aside;                               // what servers have said unasked while a message was half sent
  std::string farewell;                      // what a FATAL of a server said before its link was lost

  // For the next request.
  void reset_request() {
    work.reset();
    began = {};
    reruns = known_heads = 0;
    if (!unit.open) unit.forget();
  }
  // For another session.
  void reset() {
    work.reset();
    unit.reset();
    began = {};
    reruns = known_heads = 0;
    replay_error.reset();
    named_error.reset();
    farewell.clear();
    Bytes().swap(aside);
    parameters.reset();
  }
};
using RunningPtr = std::unique_ptr<Running>;

}  // namespace herdgate::session

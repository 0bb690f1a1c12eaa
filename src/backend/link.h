// One authenticated server link with its ledger: sends what its user hands it, gives each reply to where it belongs.
//
// Shape    The user (a session, or the pool while it cleans) appends messages with send_*(), then flush(). Replies come
//          as events of LinkUser: rows and other plain replies as runs of bytes, everything that changes state as whole
//          messages. At most one user at a time; without a user only ParameterStatus and notices may arrive.
//          Errors and notices over kMaxWhole come in parts: the first as the message (Message::cut), the others as
//          rows.
// Limits   kReadsPerTurn chunks of the worker's scratch buffer per turn; messages wanted whole up to kMaxWhole, longer
//          ones pass through uninspected; unsent bytes are the user's to bound (unsent()).
// Errors   on_lost() exactly once, after which the link is dead. A reply that nobody is owed ends the link.
// Threads  one worker owns a link; it may change hands between workers only while idle (detach/attach).
// Source   PostgreSQL manual, "Message Flow"; ARCHITECTURE.md section 1, the ledger.
#pragma once
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "backend/answer.h"
#include "backend/errc.h"
#include "backend/ledger.h"
#include "backend/reported.h"
#include "base/bytes.h"
#include "base/ids.h"
#include "base/lifetime.h"
#include "net/loop.h"
#include "net/socket.h"
#include "wire/stream_scanner.h"

namespace herdgate::backend {

class Link;

// A whole message as it came: header and payload. `stable` bytes live until the user's on_chunk_end, others only
// during the call.
struct Message {
  char type = 0;
  ByteView bytes;
  bool stable = true;
  bool cut = false;  // only the beginning of an error or notice that is too long to be held
  ByteView payload() const { return bytes.substr(wire::kHeaderBytes); }
};

class LinkUser {
 public:
  virtual ~LinkUser() = default;
  // Rows and parts of rows of the head entry, fate forward or capture: pass them on, in this order.
  virtual void on_rows(Link& link, const Debt& head, ByteView bytes, bool stable) = 0;
  // A whole reply of the head entry that is not a row. `done`: it finishes the entry (on_ended follows).
  virtual void on_reply(Link& link, const Debt& head, const Message& message, bool done) = 0;
  // An answer that is as expected, for a user that wants those of `head`, and of the entries with its note, in one
  // step: on_rows, on_reply and on_ended are not called for what is in it. Its bytes are stable.
  virtual bool takes_answers(const Debt& /*head*/) const { return false; }
  virtual void on_answer(Link& /*link*/, const Answer& /*answer*/) {}
  // An entry is finished; a local entry's reply is due now (debt.local).
  virtual void on_ended(Link& link, const Debt& debt, Ended how) = 0;
  // NoticeResponse, NotificationResponse, ParameterStatus: not answers. `head` is null when nothing is owed.
  virtual void on_async(Link& link, const Debt* head, const Message& message) = 0;
  virtual void on_chunk_end(Link& link) = 0;  // the bytes given as stable are about to go: write them out or copy them
  virtual void on_drained(Link& link) = 0;    // everything queued has been sent
  virtual void on_lost(Link& link, const Error& why) = 0;  // the link may be destroyed from within
};

// Who keeps a link while it has no user.
class LinkKeeper {
 public:
  virtual ~LinkKeeper() = default;
  virtual void on_lost_unused(Link& link) = 0;  // it is called from within the link: not to be destroyed yet
};

// Scratch space of a worker, lent to whichever link or client reads now.
struct Scratch {
  std::vector<char> bytes = std::vector<char>(256 * 1024);
};

struct LinkKey {
  NodeId node;
  std::string database, user;
  auto operator<=>(const LinkKey&) const = default;
};

// What the login told.
struct Greeting {
  std::int32_t pid = 0;
  Bytes secret;
  int minor = 0;                                               // protocol 3.minor
  std::map<std::string, std::string, std::less<>> parameters;  // ParameterStatus
  Bytes notices;  // whole NoticeResponse messages, for the client that caused the login
};

class Link final : public net::Watcher {
 public:
  static constexpr std::size_t kMaxWhole = 1 << 20;
  static constexpr int kReadsPerTurn = 8;
  static constexpr std::size_t kUserBytes = 768;  // of its user, that an answer touches

  Link(LinkId id, LinkKey key, Greeting greeting);
  ~Link() override;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  void approach(int others) const override;

  // Puts the link on a loop, or takes it off to hand it to another worker (only while nothing is owed or unsent).
  Result<Done> attach(net::Loop& loop, Scratch& scratch, net::Socket socket);
  net::Socket detach();

  void set_user(LinkUser* user) { user_ = user; }
  void set_keeper(LinkKeeper* keeper) { keeper_ = keeper; }
  LinkUser* user() const { return user_; }
  LinkId id() const { return id_; }
  const LinkKey& key() const { return key_; }
  const Greeting& greeting() const { return greeting_; }
  const std::map<std::string, std::string, std::less<>>& reported() const { return greeting_.parameters; }

  const Reported& reads() const { return reads_; }

  Bytes take_notices() { return std::exchange(greeting_.notices, {}); }

  // Sending: each appends to the output and, where it will be answered, to the ledger.
  // put(out) appends one message.
  template <class Put>
  void send_put(Put&& put, Owes what, Fate fate, std::uint16_t note, std::uint16_t item = 0) {
    put(out_);
    owe(what, fate, note, item);
  }
  void put(ByteView bytes) { out_.append(bytes); }  // messages that owe() has been told of
  void send(ByteView message, Owes what, Fate fate, std::uint16_t note = 0, std::uint16_t item = 0);
  void send_query(std::string_view sql, Fate fate, std::uint16_t note = 0, std::uint16_t item = 0);
  void send_sync(Fate fate, std::uint16_t note = 0);
  // CopyData, CopyDone, CopyFail, Flush, parts of streamed messages. `missing`: octets of the last message that are
  // still to come.
  void send_unanswered(ByteView bytes, std::size_t missing = 0);
  // A message whose body streams through: the head now (answered like `what`), its rest by send_unanswered.
  void owe(Owes what, Fate fate, std::uint16_t note = 0, std::uint16_t item = 0);
  void owe_local(ByteView reply, std::uint16_t note = 0, std::uint16_t item = 0);  // a text that lives for ever
  void flush();     // one write; the rest goes out as the socket allows
  bool send_now();  // what flush() has sent, without waiting for the end of the turn; false: there is more of it

  // Simple queries sent so far: each of them drops the server's unnamed prepared statement.
  std::uint64_t queries() const { return queries_; }
  const Ledger& ledger() const { return ledger_; }
  std::size_t unsent() const { return out_.size() - out_sent_; }
  char status() const { return status_; }  // of the last ReadyForQuery
  // Nothing owed, nothing half-sent, last synchronised in state I: may be lent to somebody else.
  bool clean() const;
  bool half_sent() const { return missing_ > 0; }  // the server waits for the rest of a message
  bool synced() const { return !unsynced_; }       // nothing was sent after the last Query, Sync or FunctionCall
  bool lost() const { return lost_; }
  // SQLSTATE of the last FATAL or PANIC: why the server ended the connection; empty: it said nothing.
  const std::string& farewell() const { return farewell_; }
  bool panicked() const { return panicked_; }  // it was a PANIC
  bool mid_forward() const { return scanner_.mid_forwarded(); }

  // Back-pressure from the client: no reads while paused.
  void pause();
  void resume();

  void close(const Error& why);  // sends Terminate if that makes sense; no on_lost
  // The server is given up from outside: as if the connection had broken. Not from within the link's own event.
  void abandon(const Error& why) { lose(why); }
  void on_ready(unsigned ready) override;
  void on_unsent(std::string_view rest, int errno_value) override;

 private:
  void read_some();
  void process(ByteView chunk);
  wire::Run take_run();
  bool deal_answer(const Lifetime::Watch& link);
  bool deal(const wire::Piece& piece, const Lifetime::Watch& link);
  bool deal_part(const wire::Piece& piece);
  bool deal_long(const wire::Piece& piece, const Lifetime::Watch& link);
  bool deal_whole(const wire::Piece& piece, const Lifetime::Watch& link);
  bool deal_async(const wire::Piece& piece);
  void hear_error(const wire::Piece& piece);
  void finish_head(bool failed, const Lifetime::Watch& link);
  void emit_local(const Lifetime::Watch& link);
  void break_off(std::string why);
  void lose(Error why);
  void write_some();
  void write_failed();

  LinkId id_;
  LinkKeeper* keeper_ = nullptr;
  LinkKey key_;
  Greeting greeting_;
  Reported reads_;  // of the greeting, and what has come since
  // What each answer needs; see approach().
  net::Loop* loop_ = nullptr;
  Scratch* scratch_ = nullptr;
  net::Socket socket_;
  wire::StreamScanner scanner_;
  Ledger ledger_;
  LinkUser* user_ = nullptr;
  Bytes out_;
  std::size_t out_sent_ = 0;
  std::size_t missing_ = 0;  // see half_sent()
  std::uint64_t queries_ = 0;
  Lifetime lifetime_;
  char status_ = 'I';
  bool long_error_ends_head_ = false;  // an error over kMaxWhole is passing through
  bool readable_ = false, writable_ = true, hangup_ = false, paused_ = false, unsynced_ = false, lost_ = false;
  bool drained_untold_ = false;
  std::string farewell_;
  bool panicked_ = false;
  net::TimerId turn_ = 0;
};

// Which types the scanner collects whole: all but the long ones that only pass through.
bool wanted_whole(char type);

}  // namespace herdgate::backend

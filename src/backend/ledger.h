// What a server still owes us: one entry per message that will be answered, in the order they were sent.
// A reply belongs to the head of the ledger and to nobody else. Pure.
//
// Shape    owe() when a message is sent; on_message() when a message arrives says to which entry it belongs and whether
//          it finishes it. An error finishes its entry and skips what follows up to the next Sync (not included).
//          An entry of kind `local` is a reply that we make ourselves, due when everything before it has been answered.
// Limits   kMaxOwed entries; owe() beyond that is a bug of the caller, who must stop at may_owe() == false.
// Errors   Verdict::Action::broken: the server sent what nobody is owed; the link must be closed.
// Threads  one ledger per link.
// Source   PostgreSQL manual, "Message Flow": "Extended Query", "Pipelining", "COPY Operations".
#pragma once
#include <cstdint>
#include <vector>

#include "base/assert.h"
#include "base/bytes.h"

namespace herdgate::backend {

enum class Owes : std::uint8_t { parse, bind, describe, execute, close, sync, query, function_call, local };

// What happens to the replies of one entry.
enum class Fate : std::uint8_t {
  forward,  // they go to the client
  swallow,  // they are ours: replay, reset, internal transaction control
  capture,  // they are ours and we want to read them: catalog questions, monitor queries
};

struct Debt {
  Owes what = Owes::query;
  Fate fate = Fate::forward;
  std::uint16_t note = 0;  // the owner's mark, given back with every event
  std::uint16_t item = 0;  // the owner's second mark
  ByteView local;          // what == local: the reply; a text that lives for ever
};

enum class Ended : std::uint8_t { ok, failed, skipped };  // skipped: an error before it made the server ignore it

struct Verdict {
  enum class Action : std::uint8_t { belongs, broken } action = Action::belongs;
  bool done = false;   // this message finishes the head entry; call finish() after having dealt with the message
  bool error = false;  // it is an ErrorResponse of the head entry
};

class Ledger {
 public:
  static constexpr std::size_t kMaxOwed = 120'000;
  bool may_owe(std::size_t more) const { return size() + more <= kMaxOwed; }
  void owe(const Debt& debt) {
    HG_ASSERT(may_owe(1));
    if (skipping_ && !goes_on_with(debt)) return;
    debts_.push_back(debt);
  }
  bool empty() const { return head_ == debts_.size(); }
  std::size_t size() const { return debts_.size() - head_; }
  const Debt& head() const { return debts_[head_]; }
  // Types that belong to an entry (not NoticeResponse, ParameterStatus, NotificationResponse, which belong to nobody).
  Verdict on_message(char type);
  // Takes the head away and, when `failed`, everything the server will skip. `ended(debt, how)` for each, in order.
  template <class F>
  void finish(bool failed, F&& ended) {
    Debt done = pop();
    const bool extended = done.what != Owes::query && done.what != Owes::function_call && done.what != Owes::sync;
    error_in_query_ = false;
    ended(done, failed ? Ended::failed : Ended::ok);
    if (!failed || !extended) return;
    while (!empty() && head().what != Owes::sync) {
      Debt skipped = pop();
      ended(skipped, Ended::skipped);
    }
    skipping_ = empty();  // the Sync has not been sent yet: what comes before it will not be answered
  }
  // The local reply that is due now, if the head is one.
  bool local_due() const { return !empty() && head().what == Owes::local; }
  Debt pop() {
    const Debt taken = head();
    drop_head();
    return taken;
  }
  void drop_head() {
    ++head_;
    copy_in_ = false;
    if (empty() || head_ >= kCompactAt) compact();
  }
  bool in_copy_in() const { return copy_in_; }
  bool saw_error() const { return error_in_query_; }
  // The server ignores everything up to a Sync that is still to be sent.
  bool skipping() const { return skipping_; }

 private:
  static constexpr std::size_t kCompactAt = 1024;
  bool goes_on_with(const Debt& debt);
  void compact();

  std::vector<Debt> debts_;  // entries before head_ are dead; compacted when all are
  std::size_t head_ = 0;
  bool copy_in_ = false;
  bool skipping_ = false;
  bool error_in_query_ = false;  // a simple query has failed; only its ReadyForQuery is still to come
};

}  // namespace herdgate::backend

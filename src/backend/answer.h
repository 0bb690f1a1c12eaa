// What a server says when all goes well, taken off a chunk in one step: heads, rows, CommandComplete, ReadyForQuery, in
// the order in which the ledger expects them. That is nearly all of what servers say. Pure.
//
// Shape    take_answer(rest of the chunk, ledger) gives as much as is plain, up to and with one CommandComplete and the
//          ReadyForQuery behind it, and has taken what it finishes off the ledger. What is not plain (an error, COPY,
//          a suspended portal, a message that goes on past the chunk, another owner's entry) is left where it is.
// Limits   views into the chunk.
// Errors   none: what a server may not say is left too, for Ledger::on_message to refuse.
// Threads  that of the link.
// Source   PostgreSQL manual, "Message Flow".
#pragma once
#include <cstddef>

#include "backend/ledger.h"
#include "base/bytes.h"

namespace herdgate::backend {

struct Answer {
  ByteView heads;            // ParseComplete, BindComplete, descriptions, NoData …
  std::size_t messages = 0;  // … so many
  ByteView rows;             // behind them
  ByteView complete;         // CommandComplete of `done`: a whole message; empty: it has not come
  Debt done;                 // an Execute, which is finished, or a query, which may have more statements
  ByteView ready;            // ReadyForQuery, a whole message; with it the query or the Sync is finished
  Debt ended;                // that query or Sync
  ByteView bytes() const {   // all but ReadyForQuery, in one piece
    const std::size_t size = heads.size() + rows.size() + complete.size();
    return {heads.data(), size};
  }
  std::size_t size() const { return heads.size() + rows.size() + complete.size() + ready.size(); }
};

// The head of `ledger` exists, its fate is `forward`, no error of its query has been seen. Entries of another note or
// fate than the head's are left.
Answer take_answer(ByteView rest, Ledger& ledger);

}  // namespace herdgate::backend

// What an open transaction is over the server links that take part in it. Pure.
//
// Shape    The session reports what it sends and what comes back; the answers say what must go ahead of a statement
//          (Ahead), what the other servers are to be told (Ends) and what the client hears of a loss (Loss). The
//          transaction as the client sees it is VirtualSession's; a session has one link to a node at most, so nodes
//          stand for links here.
// Limits   one part for each node; kMaxPortals: the Execute of a portal beyond them may be anything.
// Threads  one session, one thread.
// Source   ARCHITECTURE.md, "Transactions over more than one link"; PostgreSQL manual, "Message Flow".
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "vsession/virtual_session.h"

namespace herdgate::vsession {

// A portal lives on the link where its Bind went, and nowhere else.
struct Portal {
  PreparedPtr statement;
  NodeId node = kNoNode;
};

class TransactionLinks {
 public:
  static constexpr std::size_t kMaxPortals = 10'000;

  // A link that has begun.
  struct Part {
    NodeId node;
    TxStatus server = TxStatus::open;  // as its server will have it when all that was sent has been answered
    ParameterSetPtr at_begin;          // the parameters on the link that a rollback takes it back to
    ParameterSetPtr at_commit;         // and those that a commit leaves there
  };

  // COMMIT or ROLLBACK for one of them, in the session's own name. `leaves`: the parameters that it has then.
  struct End {
    NodeId node;
    bool commit = false;
    ParameterSetPtr leaves;
  };
  using Ends = std::vector<End>;

  // What a link must be told before a statement of the transaction.
  enum class Ahead : std::uint8_t { nothing, begin, begin_and_fail, fail };

  // What was under way when a link was lost.
  struct Under {
    bool carried = false;     // the client's request, or the unit that it is part of, was on this link
    bool elsewhere = false;   // … is on another one
    bool may_commit = false;  // it may have ended the transaction for good: COMMIT, PREPARE TRANSACTION, unknown text
    bool only_ends = false;   // it is nothing but the end of the transaction
    bool goes_on = false;     // it ends it, by ROLLBACK too, and has more than that: which may be committed by itself
    bool writes = false;
    bool runs_again = false;  // may be run once more, unseen by the client
  };
  enum class Tells : std::uint8_t {
    nothing,
    later,         // at the next statement: the transaction was rolled back
    rolled_back,   // now
    unknown,       // the outcome is
    run_it_again,  // it was a read outside of any transaction
    once_more,     // nothing, the request is served anew
  };
  enum class Leaves : std::uint8_t { as_it_is, failed, idle };
  struct Loss {
    Tells tells = Tells::nothing;
    Leaves session = Leaves::as_it_is;  // the client's transaction
    Ends ends;
  };

  bool empty() const { return parts_.empty(); }
  const Part* part(NodeId node) const;
  // Where COMMIT and ROLLBACK go, so that the answer is that of the link which wrote; kNoNode: no server knows of it.
  NodeId carrier(NodeId write_node) const;
  Ahead before(NodeId node, const Transaction& session) const;

  void joined(NodeId node, ParameterSetPtr at_begin, ParameterSetPtr at_commit);
  void failed(NodeId node);  // an error of our own making, or under a question of ours
  // ReadyForQuery of the client's request. `committed` counts when the transaction is over.
  Ends answered(NodeId node, TxStatus server, bool committed, const ParameterSetPtr& at_begin);
  void will_leave(NodeId node, const ParameterSetPtr& at_commit);
  // COMMIT AND CHAIN and its like: the others join the new transaction when they are needed.
  Ends chained(NodeId node, bool committed, const ParameterSetPtr& at_begin);
  // COMMIT and its like amid a request, which may begin another transaction behind it.
  Ends ended(NodeId node, bool committed, const ParameterSetPtr& at_begin);
  // Savepoints are on the link that carries the transaction; the others have nothing to go back to. Of them stays only
  // what is sound and has an open portal.
  Ends rolled_back_to(NodeId node);
  // A write follows there. What the others have read must not hold up a standby that is to replay this transaction's
  // own locks, for which its COMMIT may wait. A part with an open portal stays.
  Ends writes_at(NodeId node);
  // The isolation level was set there: the other parts keep the one that they have begun with, and begin anew.
  Ends level_set_at(NodeId node) { return writes_at(node); }
  Ends leave(NodeId node);    // its part is given up
  Ends end_all(bool commit);  // by us: the session must not hold links while it waits, or has failed
  Loss lost(NodeId node, const Transaction& session, const Under& under);

  void bind_portal(std::string_view name, const PreparedPtr& statement, NodeId node);
  void close_portal(std::string_view name);
  const Portal* portal(std::string_view name) const;
  bool has_named_portals() const { return named_ && !named_->empty(); }
  void forget_portals();  // the transaction is over

 private:
  using Portals = std::map<std::string, Portal, std::less<>>;
  Part* find(NodeId node);
  void take(std::size_t at, bool commit, Ends& into);
  Ends end_others(NodeId but, bool commit);
  bool has_portals_at(NodeId node) const;
  void forget_portals_at(NodeId node);

  std::vector<Part> parts_;
  Portal unnamed_;
  std::unique_ptr<Portals> named_;
};

}  // namespace herdgate::vsession

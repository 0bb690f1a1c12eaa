// Writes one extended unit to a link: statements under their interned names, what is missing there prepared ahead, and
// local answers (Close, an interned Parse) in their right places.
//
// Shape    write(unit) goes through the messages in order and stops where it must: after an Execute that may have
//          started COPY (hold), at an error of ours (poison, or answered_locally when nothing was sent).
// Threads  the worker of its session; lives for one call.
#pragma once
#include "session/session.h"
#include "session/unit_messages.h"
#include "wire/frontend.h"

namespace herdgate::session {

class UnitWriter {
 public:
  // Replies that one message may have us wait for: it is prepared ahead, by settings that are put back; it takes the
  // start-up parameters back, each by a statement of ours.
  static constexpr std::size_t kMostOwed = 1000, kOwedBySet = 6;
  static std::size_t most_owed(const Session& session) {
    return kMostOwed + kOwedBySet * session.vs_.startup_parameters()->all().size();
  }
  struct Written {
    std::size_t bytes = 0;  // of the unit, consumed
    bool synced = false;    // a Sync was written (or swallowed by a local error)
    bool hold = false;
    bool answered_locally = false;
    bool defines = false;  // a named statement was made
  };
  static constexpr std::size_t kRecentItems = 4;
  // asks_id: of the transaction, ahead of Sync.
  UnitWriter(Session& session, pool::ServerLink& link, bool asks_id);
  Written write(const UnitMessages& unit);
  // The statement alone, to be described; as_told: by the types that the session was told of.
  void describe_ahead(const vsession::PreparedPtr& statement, bool as_told);

 private:
  bool has_room() const { return raw_.ledger().may_owe(most_owed(session_)); }  // for one more message
  bool message(const UnitMessage& message);
  bool parse(const UnitMessage& message);
  bool name_taken(const wire::Parse& read);
  bool send_parse(const vsession::PreparedPtr& statement);  // the client's, in our words
  bool bind(const UnitMessage& message);
  bool describe(const UnitMessage& message);
  bool execute(const UnitMessage& message);
  void takes_back(const vsession::PreparedPtr& by, const sql::Statement& statement);  // which it runs
  void drop_statements(const vsession::PreparedPtr& by, const std::string& one, bool all);
  void give_own_name(const vsession::PreparedStatement& by);
  bool close(const UnitMessage& message);
  bool close_portal(const UnitMessage& message);
  bool prepare(const vsession::PreparedPtr& statement);  // ahead, if the link does not have it; false: refused
  void make_room(const vsession::PreparedStatement& statement);
  void ask_description(const vsession::PreparedPtr& statement);
  void parse_as(const std::string& name, const vsession::PreparedPtr& statement, ByteView types, Note note,
                std::uint16_t settings_of);
  void set(const std::string& sql, std::uint16_t of);  // by a statement of ours
  std::uint64_t epoch() const;                         // of the catalog
  void note_unnamed(const vsession::PreparedStatement& statement);
  void note_planned(const vsession::PreparedStatement& statement, bool by_others);
  void drop(const std::string& name);
  void close_on_link(const std::string& name);
  void intern(const std::string& name);
  bool fail(const wire::Report& report);
  void pass(ByteView whole, backend::Owes what, std::uint16_t item = 0);
  void put_verbatim();
  // The link, to put something of our own there.
  backend::Link& raw() {
    put_verbatim();
    return raw_;
  }
  std::uint16_t item(const vsession::PreparedPtr& statement);
  void log(std::string_view what, std::string_view sql);

  Session& session_;
  pool::ServerLink& link_;
  backend::Link& raw_;
  Written written_;
  ByteView verbatim_;  // owed for, not yet put: one piece of the unit
  Bytes scratch_;
  bool sent_ = false;  // something of this unit is on its way
  const bool announces_, asks_id_;
  const UnitMessages* unit_ = nullptr;
  bool failed_;  // the rest up to Sync is dropped
};

}  // namespace herdgate::session

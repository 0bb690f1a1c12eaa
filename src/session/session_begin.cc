// BEGIN, COMMIT and ROLLBACK of which no server has to hear: a transaction begins on a link with its first statement
// there, so these are answered here while there has been none.
#include "session/session.h"
#include "session/session_log.h"
#include "sql/text_scan.h"
#include "wire/backend.h"
#include "wire/frontend.h"

namespace herdgate::session {
namespace {
using sql::Kind;
using vsession::TxStatus;

std::size_t count_at(ByteView bytes, std::size_t at) {
  return static_cast<std::size_t>(static_cast<unsigned char>(bytes[at])) << 8 |
         static_cast<unsigned char>(bytes[at + 1]);
}

constexpr ByteView kNoTypes("\0\0", 2);

// Bind: no values, and no formats for them but one for all.
bool binds_nothing(ByteView rest) {
  constexpr std::size_t kCount = 2, kFormat = 2;
  if (rest.size() < kCount) return false;
  const std::size_t formats = count_at(rest, 0);
  const std::size_t values = kCount + formats * kFormat, results = values + kCount;
  if (formats > 1 || rest.size() < results + kCount || count_at(rest, values) != 0) return false;
  return rest.size() == results + kCount + count_at(rest, results) * kFormat;
}

// Bind, Describe if it likes, Execute and Sync behind it, of one statement by the unnamed portal, for others would have
// to be there afterwards.
bool only_runs(const std::vector<UnitMessage>& messages, std::size_t at, std::string_view statement) {
  const auto is = [&](char type) { return at < messages.size() && messages[at].type == type && messages[at].good(); };
  if (!is(wire::fe::kBind) || messages[at].statement != statement || !messages[at].portal.empty() ||
      !binds_nothing(messages[at].rest()))
    return false;
  ++at;
  if (is(wire::fe::kDescribe)) {
    const UnitMessage& describe = messages[at++];
    if (describe.what == 'S' ? describe.statement != statement : !describe.portal.empty()) return false;
  }
  if (!is(wire::fe::kExecute) || !messages[at++].portal.empty()) return false;
  return is(wire::fe::kSync) && at + 1 == messages.size();
}

// "START TRANSACTION" has a tag of its own.
bool begins_by_start(std::string_view text) {
  constexpr std::string_view kStart = "start";
  return sql::same_word(text.substr(sql::scan_start(text).statement, kStart.size()), kStart);
}

}  // namespace

void Begins::see(Kind kind) {
  if (kind == Kind::begin) {
    now = true;
  } else if (sql::ends_transaction(kind)) {
    now = false;
  } else {
    works = true;
  }
  if (!works) first = now;
}

// Whether a server knows of the session's transaction, or has to say what is wrong with the statement.
bool Session::needs_server(Kind kind) const {
  if (settings().backend_clustering_mode == config::ClusteringMode::raw) return true;
  if (vs_.state().tx.status == TxStatus::idle) return kind != Kind::begin || vs_.state().pins != 0;
  return (kind != Kind::commit && kind != Kind::rollback) || !parts_.empty();
}

// The tag of the answer.
std::string_view Session::begin_or_end_here(const sql::Statement& statement, std::string_view text,
                                            const std::shared_ptr<const sql::Facts>& facts) {
  const TxStatus status = vs_.state().tx.status;
  if (statement.kind == Kind::begin) {
    vs_.statement_done({.statement = statement, .text = text, .tag = "BEGIN", .facts = facts});
    vs_.ready(TxStatus::open);
    return begins_by_start(text) ? "START TRANSACTION" : "BEGIN";
  }
  forget_transaction_id();  // AND CHAIN begins another one
  forget_pending_of_transaction();
  const bool commits = statement.kind == Kind::commit && status != TxStatus::failed;
  const std::string_view tag = commits ? "COMMIT" : "ROLLBACK";
  vs_.statement_done({.statement = statement, .text = text, .tag = tag});
  vs_.ready(statement.transaction.chain ? TxStatus::open : TxStatus::idle);
  return tag;
}

// True: the unit is nothing but such a statement, and was answered.
bool Session::begin_or_end_by_unit(UnitMessages& messages) {
  if (!work().request.synced) return false;
  UnitMessage& first = messages.list.front();
  vsession::PreparedPtr statement;
  if (first.type == wire::fe::kParse) {
    const auto& facts = facts_of(first);
    if (!facts || facts->multi() || needs_server(facts->first().kind)) return false;
    const wire::Parse parse = *wire::parse_parse(first.payload());
    if (parse.types != kNoTypes || !only_runs(messages.list, 1, parse.statement)) return false;
    auto defined = vs_.define(parse.statement, parse.query, parse.types, facts, results_epoch());
    if (!defined) return false;  // the name is taken
    statement = *defined;
  } else {
    if (first.type != wire::fe::kBind || !first.good()) return false;
    if (first.known == nullptr) first.known = &vs_.find_prepared(first.statement);
    const vsession::PreparedPtr& known = *first.known;
    if (!known || known->from_sql || !known->facts || known->facts->multi()) return false;
    if (needs_server(known->facts->first().kind) || known->types != kNoTypes) return false;
    if (!only_runs(messages.list, 0, first.statement)) return false;
    statement = known;
  }
  note_trace(statement->query);
  if (own().log_statement(settings())) log_statement(worker_.log(), who_, statement->query);
  Bytes& out = client_.own();
  for (const UnitMessage& message : messages.list) {
    if (message.type == wire::fe::kParse) wire::put_parse_complete(out);
    if (message.type == wire::fe::kBind) wire::put_bind_complete(out);
    if (message.type == wire::fe::kDescribe && message.what == 'S') wire::put_parameter_description(out, {});
    if (message.type == wire::fe::kDescribe) wire::put_no_data(out);
  }
  wire::put_command_complete(out, begin_or_end_here(statement->facts->first(), statement->query, statement->facts));
  client_.added_own();
  say_ready();
  return true;
}

}  // namespace herdgate::session

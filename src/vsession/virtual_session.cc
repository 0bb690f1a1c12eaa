#include "vsession/virtual_session.h"

#include "vsession/level.h"

namespace herdgate::vsession {
using sql::Kind;
namespace {

bool only_marks_transactions(Kind kind) {
  return kind == Kind::begin || kind == Kind::commit || kind == Kind::rollback || kind == Kind::savepoint ||
         kind == Kind::release || kind == Kind::rollback_to;
}

// One for each thread: of all threads together its count of users would go from core to core.
const ParameterSetPtr& no_parameters() {
  thread_local const ParameterSetPtr none = std::make_shared<ParameterSet>();
  return none;
}

}  // namespace

VirtualSession::VirtualSession(const HashKey& key)
    : key_(key), startup_(no_parameters()), current_(startup_), after_commit_(startup_) {}

VirtualSession::~VirtualSession() = default;

void VirtualSession::begin_statement() {
  if (!fresh_) return;
  fresh_ = false;
  resets_.clear();
}

void VirtualSession::rows_done(bool write) {
  begin_statement();
  if (!write) return;
  note_write();
}

void VirtualSession::statement_done(const Outcome& outcome) {
  begin_statement();
  note_pins(outcome);
  if (!outcome.ok) return statement_failed(outcome);
  if (!outcome.statement.settings.empty()) apply_settings(outcome);
  note_prepared(outcome);
  if (outcome.write && !only_marks_transactions(outcome.statement.kind)) {
    note_write();
    if (state_.tx.status == TxStatus::open && outcome.remember_names) note_written(outcome.statement.relations);
  }
  transaction_control(outcome);
}

void VirtualSession::note_write() {
  state_.wrote_in_session = true;
  if (state_.tx.status == TxStatus::open) state_.tx.wrote = state_.wrote_in_transaction = true;
}

void VirtualSession::note_written(const std::vector<sql::Relation>& relations) {
  Transaction& tx = state_.tx;
  if (tx.status != TxStatus::open) return;
  for (const sql::Relation& relation : relations) {
    sql::Relation bare{.schema = {}, .name = relation.name};
    bool known = tx.written_overflow;
    for (const sql::Relation& written : tx.written) known = known || written == bare;
    if (known) continue;
    if (tx.written.size() == kMaxWritten) {
      tx.written_overflow = true;
      return;
    }
    tx.written.push_back(std::move(bare));
  }
}

void VirtualSession::ready(TxStatus status) {
  follow(status);
  if (!heard_conforming_.empty() || !heard_encoding_.empty()) adopt_heard();
}

void VirtualSession::follow(TxStatus status) {
  fresh_ = true;
  Transaction& tx = state_.tx;
  if (status == TxStatus::idle) {
    // The end of an implicit transaction, which we have not seen a statement for. Had it failed, its statement did.
    if (tx.status == TxStatus::idle && levels_.empty() && !listen_at_commit_ && temp_until_commit_.empty()) return;
    return end_transaction(tx.status != TxStatus::failed, /*chain=*/false);
  }
  if (tx.status == TxStatus::idle) {  // opened in a way we have not seen
    ensure_base();
    tx.explicit_block = true;
    tx.isolation = state_.default_isolation;
    tx.read_only = state_.default_read_only;
  }
  tx.status = status;
}

void VirtualSession::transaction_lost(bool stay_failed) {
  heard_conforming_.clear();
  heard_encoding_.clear();
  end_transaction(/*commit=*/false, /*chain=*/stay_failed);  // of what kind it was ROLLBACK AND CHAIN wants to know
  if (!stay_failed) return;
  ensure_base();
  state_.tx.explicit_block = true;
  state_.tx.status = TxStatus::failed;
}

void VirtualSession::add_pin(Pin pin) { state_.pins |= static_cast<std::uint16_t>(pin); }

void VirtualSession::remove_pin(Pin pin) { state_.pins &= static_cast<std::uint16_t>(~static_cast<unsigned>(pin)); }

void VirtualSession::clear_pins() {
  state_.pins = 0;
  forget_temporary();
  hold_cursors_.clear();
  listening_ = false;
  listen_at_commit_.reset();
}

}  // namespace herdgate::vsession

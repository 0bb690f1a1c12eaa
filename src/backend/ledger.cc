#include "backend/ledger.h"

#include "wire/types.h"

namespace herdgate::backend {
namespace {
using namespace wire::be;

Verdict belongs(bool done) { return {Verdict::Action::belongs, done, false}; }
Verdict broken() { return {Verdict::Action::broken, false, false}; }

bool is_row_or_copy(char type) {
  return type == kDataRow || type == kCopyData || type == kCopyDone || type == kCopyIn || type == kCopyOut ||
         type == kCopyBoth;
}

}  // namespace

// Behind an error a server ignores what comes before the Sync.
bool Ledger::goes_on_with(const Debt& debt) {
  if (debt.what != Owes::sync) return false;
  skipping_ = false;
  return true;
}

void Ledger::compact() {
  debts_.erase(debts_.begin(), debts_.begin() + static_cast<std::ptrdiff_t>(head_));
  head_ = 0;
}

Verdict Ledger::on_message(char type) {
  if (empty() || head().what == Owes::local) return broken();
  const Owes what = head().what;
  if (type == kCopyIn || type == kCopyBoth) copy_in_ = true;
  if (type == kError) {
    copy_in_ = false;
    if (what == Owes::query || what == Owes::function_call) {
      error_in_query_ = true;
      return {Verdict::Action::belongs, false, true};  // ReadyForQuery is still to come
    }
    return {Verdict::Action::belongs, what != Owes::sync,
            true};  // an error at Sync: COMMIT of the implicit block failed
  }
  switch (what) {
    case Owes::parse:
      return type == kParseComplete ? belongs(true) : broken();
    case Owes::bind:
      return type == kBindComplete ? belongs(true) : broken();
    case Owes::close:
      return type == kCloseComplete ? belongs(true) : broken();
    case Owes::describe:
      if (type == kParameterDescription) return belongs(false);
      return type == kRowDescription || type == kNoData ? belongs(true) : broken();
    case Owes::execute:
      if (is_row_or_copy(type)) return belongs(false);
      return type == kCommandComplete || type == kEmptyQuery || type == kPortalSuspended ? belongs(true) : broken();
    case Owes::sync:
      return type == kReady ? belongs(true) : broken();
    case Owes::query:
      if (type == kReady) return belongs(true);
      return is_row_or_copy(type) || type == kCommandComplete || type == kEmptyQuery || type == kRowDescription
                 ? belongs(false)
                 : broken();
    case Owes::function_call:
      if (type == kReady) return belongs(true);
      return type == kFunctionResult ? belongs(false) : broken();
    case Owes::local:
      break;
  }
  return broken();
}

}  // namespace herdgate::backend

// A server that says anything at any moment: whatever the ledger accepts, every entry ends exactly once and in order.
#include <cstdint>

#include "backend/ledger.h"
#include "base/assert.h"

using namespace herdgate::backend;

namespace {

// Messages a server may send, and a few it may not.
constexpr char kTypes[] = "123CDEGHIKSTVWZcdnst?";

struct Books {
  Ledger ledger;
  std::uint16_t owed = 0, ended = 0;

  void owe(Owes what) {
    if (!ledger.may_owe(1) || owed == 0xffff) return;
    const std::size_t before = ledger.size();
    ledger.owe(Debt{what, Fate::forward, 0, owed, {}});
    // Behind an error and before the Sync a server does not answer, and nothing is entered.
    if (ledger.size() > before) ++owed;
    HG_ASSERT(ledger.size() <= before + 1);
  }

  void gone(const Debt& debt) { HG_ASSERT(debt.item == ended++); }

  bool hear(char type) {
    const bool nobody = ledger.empty();
    const Verdict verdict = ledger.on_message(type);
    if (verdict.action == Verdict::Action::broken) return false;
    HG_ASSERT(!nobody);
    if (verdict.done) ledger.finish(verdict.error, [&](const Debt& debt, Ended) { gone(debt); });
    while (ledger.local_due()) gone(ledger.pop());
    return true;
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Books books;
  for (std::size_t i = 0; i < size; ++i) {
    if (data[i] < 128) {
      books.owe(static_cast<Owes>(data[i] % (static_cast<int>(Owes::local) + 1)));
      while (books.ledger.local_due()) books.gone(books.ledger.pop());
    } else if (!books.hear(kTypes[data[i] % (sizeof(kTypes) - 1)])) {
      return 0;  // the link would be closed
    }
    HG_ASSERT(books.ended + books.ledger.size() == books.owed);
  }
  return 0;
}

// A server's chunk taken by the answer where it is plain, and message by message: both ways leave the same ledger, end
// the same entries in the same order, and agree on where the server breaks the rules.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "backend/answer.h"
#include "base/assert.h"
#include "wire/types.h"

using namespace herdgate;
using namespace herdgate::backend;

namespace {

constexpr char kTypes[] = "123CDEGHIKSTVWZcdnst?";

struct Books {
  Ledger ledger;
  std::vector<std::uint16_t> ended;
  bool broken = false;

  void local() {
    while (ledger.local_due()) ended.push_back(ledger.pop().item);
  }
  void hear(ByteView message) {
    const char type = message[0];
    const bool status = message.size() == 6 && (message[5] == 'I' || message[5] == 'T' || message[5] == 'E');
    const Verdict verdict = ledger.on_message(type);
    broken = verdict.action == Verdict::Action::broken || (type == wire::be::kReady && !status);
    if (broken || !verdict.done) return;
    ledger.finish(verdict.error, [&](const Debt& debt, Ended) { ended.push_back(debt.item); });
    local();
  }
};

// The first message of `rest`; the chunks here hold whole ones only.
ByteView first(ByteView rest) { return rest.substr(0, std::size_t{load_u32(rest.data() + 1)} + 1); }

void one_by_one(Books& books, ByteView rest) {
  while (!rest.empty() && !books.broken) {
    const ByteView message = first(rest);
    rest.remove_prefix(message.size());
    books.hear(message);
  }
}

void by_answers(Books& books, ByteView rest) {
  while (!rest.empty() && !books.broken) {
    const bool plain = !books.ledger.empty() && !books.ledger.saw_error() && books.ledger.head().fate == Fate::forward;
    const std::size_t before = books.ledger.size();
    std::vector<std::uint16_t> owed;
    for (Ledger copy = books.ledger; plain && !copy.empty();) owed.push_back(copy.pop().item);
    const Answer answer = plain ? take_answer(rest, books.ledger) : Answer{};
    HG_ASSERT(answer.size() <= rest.size());
    HG_ASSERT(answer.size() > 0 || books.ledger.size() == before);
    const auto gone = static_cast<std::ptrdiff_t>(before - books.ledger.size());
    books.ended.insert(books.ended.end(), owed.begin(), owed.begin() + gone);
    rest.remove_prefix(answer.size());
    books.local();
    if (answer.size() > 0) continue;
    const ByteView message = first(rest);
    rest.remove_prefix(message.size());
    books.hear(message);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Books one, other;
  Bytes chunk;
  std::uint16_t owed = 0;
  for (std::size_t i = 0; i < size && i < 4096; ++i) {
    if (data[i] < 128) {
      const auto what = static_cast<Owes>(data[i] % (static_cast<int>(Owes::local) + 1));
      const Fate fate = data[i] >= 100 ? Fate::swallow : Fate::forward;
      const auto note = static_cast<std::uint16_t>(data[i] >= 90 ? 1 : 0);
      for (Books* books : {&one, &other}) {
        books->ledger.owe(Debt{what, fate, note, owed, {}});
        books->local();
      }
      ++owed;
    } else {
      const char type = kTypes[data[i] % (sizeof(kTypes) - 1)];
      chunk.push_back(type);
      const std::size_t payload = type == wire::be::kReady ? 1 : data[i] % 3;
      chunk.append(ByteView("\0\0\0", 3));
      chunk.push_back(static_cast<char>(4 + payload));
      for (std::size_t k = 0; k < payload; ++k) chunk.push_back("ITEX"[(i + k) % 4]);
    }
  }
  one_by_one(one, chunk);
  by_answers(other, chunk);
  HG_ASSERT(one.broken == other.broken);
  HG_ASSERT(one.ended == other.ended);
  HG_ASSERT(one.ledger.size() == other.ledger.size());
  HG_ASSERT(one.ledger.in_copy_in() == other.ledger.in_copy_in());
  return 0;
}

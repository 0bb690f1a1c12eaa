#include "backend/answer.h"

#include "wire/types.h"

namespace herdgate::backend {
namespace {
using namespace wire::be;

// The bytes of a chunk that have not been taken yet.
struct Rest {
  const char* at;
  const char* end;

  // The size of the message at the front when all of it is there, else 0.
  std::size_t whole() const {
    if (static_cast<std::size_t>(end - at) < wire::kHeaderBytes) return 0;
    const std::uint32_t length = load_u32(at + 1);
    const auto room = static_cast<std::size_t>(end - at);
    return length >= 4 && length <= wire::kMaxMessage && length < room ? std::size_t{length} + 1 : 0;
  }
  ByteView since(const char* begin) const { return {begin, static_cast<std::size_t>(at - begin)}; }
};

enum class Head : std::uint8_t { none, not_last, last };  // … that answers the entry

Head head_of(Owes what, char type) {
  switch (what) {
    case Owes::bind:
      return type == kBindComplete ? Head::last : Head::none;
    case Owes::describe:
      if (type == kParameterDescription) return Head::not_last;
      return type == kRowDescription || type == kNoData ? Head::last : Head::none;
    case Owes::parse:
      return type == kParseComplete ? Head::last : Head::none;
    case Owes::query:
      return type == kRowDescription ? Head::not_last : Head::none;
    default:
      return Head::none;
  }
}

bool is_ready(const Rest& rest) {
  constexpr std::size_t kSize = wire::kHeaderBytes + 1;
  if (rest.whole() != kSize || *rest.at != kReady) return false;
  const char status = rest.at[kSize - 1];
  return status == 'I' || status == 'T' || status == 'E';
}

}  // namespace

Answer take_answer(ByteView chunk, Ledger& ledger) {
  Answer answer;
  const std::uint16_t note = ledger.head().note;
  const auto is_ours = [&] {
    return !ledger.empty() && ledger.head().fate == Fate::forward && ledger.head().note == note;
  };
  Rest rest{chunk.data(), chunk.data() + chunk.size()};
  bool ours = true;
  while (ours) {
    const std::size_t size = rest.whole();
    const Head head = size == 0 ? Head::none : head_of(ledger.head().what, *rest.at);
    if (head == Head::none) break;
    rest.at += size;
    ++answer.messages;
    if (head == Head::not_last) continue;
    ledger.drop_head();
    ours = is_ours();
  }
  answer.heads = rest.since(chunk.data());
  if (!ours) return answer;
  const Owes what = ledger.head().what;
  if (what == Owes::execute || what == Owes::query) {
    const char* const rows = rest.at;
    for (std::size_t size = rest.whole(); size > 0 && *rest.at == kDataRow; size = rest.whole()) rest.at += size;
    answer.rows = rest.since(rows);
    if (const std::size_t size = rest.whole(); size > 0 && *rest.at == kCommandComplete) {
      answer.complete = ByteView(rest.at, size);
      answer.done = ledger.head();
      rest.at += size;
      if (what == Owes::execute) {
        ledger.drop_head();
        ours = is_ours();
      }
    }
  }
  if (ours && (ledger.head().what == Owes::sync || ledger.head().what == Owes::query) && is_ready(rest)) {
    answer.ready = ByteView(rest.at, wire::kHeaderBytes + 1);
    answer.ended = ledger.head();
    ledger.drop_head();
  }
  return answer;
}

}  // namespace herdgate::backend

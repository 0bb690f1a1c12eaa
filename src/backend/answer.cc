#include "backend/answer.h"

#include "wire/types.h"

namespace herdgate::backend {
namespace {
using namespace wire::be;

// What a message is to the entry that it answers.
enum class Means : std::uint8_t { something_else, head, last_head, row, tag, last_tag, ready };

Means meaning(char type, Owes what) {
  switch (type) {
    case kDataRow:
      return what == Owes::execute || what == Owes::query ? Means::row : Means::something_else;
    case kCommandComplete:
      return what == Owes::execute ? Means::last_tag : what == Owes::query ? Means::tag : Means::something_else;
    case kReady:
      return what == Owes::sync || what == Owes::query ? Means::ready : Means::something_else;
    case kBindComplete:
      return what == Owes::bind ? Means::last_head : Means::something_else;
    case kRowDescription:
      return what == Owes::describe ? Means::last_head : what == Owes::query ? Means::head : Means::something_else;
    case kNoData:
      return what == Owes::describe ? Means::last_head : Means::something_else;
    case kParameterDescription:
      return what == Owes::describe ? Means::head : Means::something_else;
    case kParseComplete:
      return what == Owes::parse ? Means::last_head : Means::something_else;
    default:
      return Means::something_else;
  }
}

// The size of the message at the front when all of it is there, else 0.
std::size_t whole_message(ByteView rest) {
  if (rest.size() < wire::kHeaderBytes) return 0;
  const std::uint32_t length = load_u32(rest.data() + 1);
  return length >= 4 && length <= wire::kMaxMessage && length < rest.size() ? std::size_t{length} + 1 : 0;
}

// Whole rows at the front, at least one: there may be very many.
std::size_t run_of_rows(ByteView rest) {
  std::size_t bytes = 0;
  do {
    bytes += whole_message(rest.substr(bytes));
  } while (bytes < rest.size() && rest[bytes] == kDataRow && whole_message(rest.substr(bytes)) > 0);
  return bytes;
}

bool is_status(ByteView ready) {
  return ready.size() == wire::kHeaderBytes + 1 && (ready[5] == 'I' || ready[5] == 'T' || ready[5] == 'E');
}

// One answer as it is being read.
struct Reading {
  Ledger& ledger;
  ByteView rest;
  std::uint16_t note;
  Answer answer;

  bool next_is_ours() const {
    return !ledger.empty() && ledger.head().fate == Fate::forward && ledger.head().note == note;
  }
  // Everything before `size` more octets is of one kind: the piece grows by them.
  void extend(ByteView& piece, std::size_t size) {
    piece = ByteView(piece.empty() ? rest.data() : piece.data(), piece.size() + size);
    rest.remove_prefix(size);
  }
  // False: the answer ends here.
  bool take(std::size_t size) {
    const Means means = meaning(rest[0], ledger.head().what);
    switch (means) {
      case Means::head:
      case Means::last_head:
        // In a row with rows before it: a statement without a CommandComplete, which is for others to judge.
        if (!answer.rows.empty() || !answer.complete.empty()) return false;
        extend(answer.heads, size);
        ++answer.messages;
        if (means == Means::last_head) ledger.drop_head();
        return true;
      case Means::row:
        if (!answer.complete.empty()) return false;
        extend(answer.rows, run_of_rows(rest));
        return true;
      case Means::tag:
      case Means::last_tag:
        if (!answer.complete.empty()) return false;
        extend(answer.complete, size);
        answer.done = ledger.head();
        if (means == Means::last_tag) ledger.drop_head();
        return true;
      case Means::ready:
        if (!is_status(rest.substr(0, size))) return false;
        extend(answer.ready, size);
        answer.ended = ledger.head();
        ledger.drop_head();
        return false;
      case Means::something_else:
        break;
    }
    return false;
  }
};

}  // namespace

Answer take_answer(ByteView rest, Ledger& ledger) {
  const char* begin = rest.data();
  Reading reading{ledger, rest, ledger.head().note, {}};
  while (reading.next_is_ours()) {
    const std::size_t size = whole_message(reading.rest);
    if (size == 0 || !reading.take(size)) break;
  }
  Answer& answer = reading.answer;
  if (answer.heads.empty()) answer.heads = ByteView(begin, 0);
  return answer;
}

}  // namespace herdgate::backend

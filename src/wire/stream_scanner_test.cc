#include "wire/stream_scanner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "wire/backend.h"
#include "wire/frontend.h"

namespace herdgate::wire {
namespace {

bool all_but_rows(char type) { return type != be::kDataRow && type != be::kCopyData; }
constexpr std::size_t kLimit = 1024;

Bytes result_of_three_rows() {
  Bytes stream;
  const std::string columns[] = {"a", "b"};
  put_text_row_description(stream, columns);
  for (const char* value : {"one", "", "three"}) {
    const std::string values[] = {value, "x"};
    put_text_row(stream, values);
  }
  put_command_complete(stream, "SELECT 3");
  put_empty(stream, be::kDataRow);  // five octets, nothing behind the header
  put_ready(stream, 'I');
  return stream;
}

struct Seen {
  Bytes stream;       // all pieces, one behind the other
  std::string whole;  // types of whole messages, in order
  std::string begun;  // types of whole messages and of heads
  bool open = false;  // a head came whose end has not
};

void collect(Seen& seen, const Piece& piece) {
  using Kind = Piece::Kind;
  seen.stream += piece.bytes;
  EXPECT_EQ(piece.kind == Kind::continuation, seen.open);
  if (piece.kind == Kind::whole) seen.whole += piece.type;
  if (piece.kind != Kind::continuation) seen.begun += piece.type;
  seen.open = !piece.last;
}

// Each piece must be as its kind says, whatever the cut.
void scan(StreamScanner& scanner, ByteView chunk, Seen& seen) {
  scanner.begin(chunk);
  for (;;) {
    const auto piece = scanner.next();
    ASSERT_TRUE(piece) << piece.error().text();
    if (piece->kind == Piece::Kind::end) return;
    collect(seen, *piece);
    EXPECT_EQ(scanner.mid_forwarded(), seen.open);
  }
}

// The relay's way: rows by the run, whole messages the short way, the rest by the piece.
void scan_by_runs(StreamScanner& scanner, ByteView chunk, Seen& seen) {
  scanner.begin(chunk);
  for (;;) {
    const bool row_is_next = scanner.next_type() == be::kDataRow;
    const auto run = scanner.take_rows(be::kDataRow);
    ASSERT_TRUE(run.bytes.empty() || row_is_next);
    seen.stream += run.bytes;
    seen.begun.append(run.messages, be::kDataRow);
    if (!run.bytes.empty()) seen.open = !run.last;
    if (Piece whole; scanner.take_whole(whole)) {
      collect(seen, whole);
      continue;
    }
    const auto piece = scanner.next();
    ASSERT_TRUE(piece) << piece.error().text();
    if (piece->kind == Piece::Kind::end) return;
    collect(seen, *piece);
  }
}

std::string wanted_of(std::string types) {
  std::erase_if(types, [](char type) { return !all_but_rows(type); });
  return types;
}

TEST(StreamScanner, YieldsTheSameMessagesAtEveryPairOfCutPoints) {
  const Bytes stream = result_of_three_rows();
  for (const auto way : {scan, scan_by_runs}) {
    for (std::size_t first = 0; first <= stream.size(); ++first) {
      for (std::size_t second = first; second <= stream.size(); ++second) {
        StreamScanner scanner(all_but_rows, kLimit);
        Seen seen;
        way(scanner, ByteView(stream).substr(0, first), seen);
        way(scanner, ByteView(stream).substr(first, second - first), seen);
        way(scanner, ByteView(stream).substr(second), seen);
        ASSERT_EQ(seen.stream, stream) << first << " " << second;
        ASSERT_EQ(seen.begun, "TDDDCDZ") << first << " " << second;
        ASSERT_EQ(wanted_of(seen.whole), "TCZ") << first << " " << second;
        ASSERT_FALSE(scanner.mid_message());
      }
    }
  }
}

TEST(StreamScanner, YieldsTheSameMessagesOctetByOctet) {
  const Bytes stream = result_of_three_rows();
  StreamScanner scanner(all_but_rows, kLimit);
  Seen seen;
  for (std::size_t i = 0; i < stream.size(); ++i) scan(scanner, ByteView(stream).substr(i, 1), seen);
  EXPECT_EQ(seen.stream, stream);
  EXPECT_EQ(seen.begun, "TDDDCDZ");
}

TEST(StreamScanner, GivesViewsIntoTheChunkWhenNothingWasCut) {
  const Bytes stream = result_of_three_rows();
  StreamScanner scanner(all_but_rows, kLimit);
  scanner.begin(stream);
  const auto piece = scanner.next();
  ASSERT_TRUE(piece);
  EXPECT_EQ(piece->bytes.data(), stream.data());
  EXPECT_FALSE(piece->buffered);
}

TEST(StreamScanner, SaysWhenTheStreamStandsInTheMiddleOfAMessage) {
  const Bytes stream = result_of_three_rows();
  StreamScanner scanner(all_but_rows, kLimit);
  Seen seen;
  scan(scanner, ByteView(stream).substr(0, 2), seen);
  EXPECT_TRUE(scanner.mid_message());
  EXPECT_FALSE(scanner.mid_forwarded());  // nothing of it has been given out
  scan(scanner, ByteView(stream).substr(2), seen);
  EXPECT_FALSE(scanner.mid_message());
}

TEST(StreamScanner, PassesAWantedMessageOverTheLimitByThePiece) {
  Bytes stream;
  put_command_complete(stream, std::string(2 * kLimit, 'x'));
  put_ready(stream, 'I');
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    StreamScanner scanner(all_but_rows, kLimit);
    Seen seen;
    scan(scanner, ByteView(stream).substr(0, cut), seen);
    scan(scanner, ByteView(stream).substr(cut), seen);
    ASSERT_EQ(seen.stream, stream);
    ASSERT_EQ(seen.begun, "CZ");
  }
}

TEST(StreamScanner, TakesARunOfRowsWithThePartialOneAtItsEnd) {
  Bytes rows;
  const std::string values[] = {"0123456789"};
  for (int i = 0; i < 3; ++i) put_text_row(rows, values);
  const std::size_t row = rows.size() / 3;
  StreamScanner scanner(all_but_rows, kLimit);
  scanner.begin(ByteView(rows).substr(0, 2 * row + 7));
  auto run = scanner.take_rows(be::kDataRow);
  EXPECT_EQ(run.bytes, ByteView(rows).substr(0, 2 * row + 7));
  EXPECT_EQ(run.messages, 3u);
  EXPECT_FALSE(run.last);
  EXPECT_TRUE(scanner.mid_forwarded());
  EXPECT_EQ(scanner.next()->kind, Piece::Kind::end);
  scanner.begin(ByteView(rows).substr(2 * row + 7));
  run = scanner.take_rows(be::kDataRow);
  EXPECT_EQ(run.bytes, ByteView(rows).substr(2 * row + 7));
  EXPECT_EQ(run.messages, 0u);
  EXPECT_TRUE(run.last);
  EXPECT_FALSE(scanner.mid_message());
}

TEST(StreamScanner, TakesNoRunWhereAnotherMessageIsDue) {
  const Bytes stream = result_of_three_rows();
  StreamScanner scanner(all_but_rows, kLimit);
  scanner.begin(stream);
  EXPECT_TRUE(scanner.take_rows(be::kDataRow).bytes.empty());
  EXPECT_TRUE(scanner.take_rows(be::kCopyData).bytes.empty());
  ASSERT_EQ(scanner.next()->type, be::kRowDescription);
  EXPECT_TRUE(scanner.take_rows(be::kCopyData).bytes.empty());
  EXPECT_EQ(scanner.take_rows(be::kDataRow).messages, 3u);
}

TEST(StreamScanner, LeavesTheRestOfAnotherTypeToNext) {
  Bytes stream;
  put_message(stream, be::kCopyData, "abcdef");
  StreamScanner scanner(all_but_rows, kLimit);
  Seen seen;
  scan(scanner, ByteView(stream).substr(0, 7), seen);
  scanner.begin(ByteView(stream).substr(7));
  EXPECT_TRUE(scanner.take_rows(be::kDataRow).bytes.empty());
  const auto piece = scanner.next();
  ASSERT_TRUE(piece);
  EXPECT_EQ(piece->kind, Piece::Kind::continuation);
  EXPECT_EQ(piece->type, be::kCopyData);
  EXPECT_TRUE(piece->last);
}

struct BadLength {
  const char* what;
  ByteView header;
  Errc code;
};
const BadLength kBadLengths[] = {
    {"zero", ByteView("D\0\0\0\0", 5), Errc::bad_length},
    {"three", ByteView("C\0\0\0\3", 5), Errc::bad_length},
    {"negative", ByteView("Z\xff\xff\xff\xff", 5), Errc::too_large},
    {"one over the largest", ByteView("D\x40\0\0\0", 5), Errc::too_large},
};

TEST(StreamScanner, RefusesImpossibleLengthsForEverAtEveryCutPoint) {
  for (const BadLength& bad : kBadLengths) {
    for (std::size_t cut = 0; cut < bad.header.size(); ++cut) {
      StreamScanner scanner(all_but_rows, kLimit);
      Bytes good;
      put_ready(good, 'I');
      const Bytes first = good + Bytes(bad.header.substr(0, cut));
      Seen seen;
      scan(scanner, first, seen);
      scanner.begin(bad.header.substr(cut));
      EXPECT_TRUE(scanner.take_rows(be::kDataRow).bytes.empty()) << bad.what;
      for (int again = 0; again < 2; ++again) {
        const auto piece = scanner.next();
        ASSERT_FALSE(piece) << bad.what;
        EXPECT_TRUE(piece.error() == make_error_code(bad.code)) << bad.what;
      }
    }
  }
}

TEST(StreamScanner, GivesTheRunBeforeABadLength) {
  Bytes stream;
  const std::string values[] = {"v"};
  put_text_row(stream, values);
  const std::size_t good = stream.size();
  stream += ByteView("D\0\0\0\2", 5);
  StreamScanner scanner(all_but_rows, kLimit);
  scanner.begin(stream);
  EXPECT_EQ(scanner.take_rows(be::kDataRow).bytes.size(), good);
  EXPECT_FALSE(scanner.next());
}

TEST(StreamScanner, TheShortWayLeavesWhatIsBrokenToNext) {
  const Bytes broken[] = {Bytes("C\0\0\0\3", 5), Bytes("C\xff\xff\xff\xff", 5), Bytes("C\x40\0\0\0", 5)};
  for (const Bytes& stream : broken) {
    StreamScanner scanner(all_but_rows, kLimit);
    scanner.begin(stream);
    Piece piece;
    EXPECT_FALSE(scanner.take_whole(piece));
    EXPECT_FALSE(scanner.next());
    EXPECT_FALSE(scanner.take_whole(piece));
  }
}

// Random streams in random chunks against the plain reading of the format.
TEST(StreamScanner, AgreesWithAPlainReadingOfRandomStreams) {
  std::mt19937 random(20'240'601);
  for (int round = 0; round < 300; ++round) {
    Bytes stream;
    std::string types;
    for (int i = 0; i < 40; ++i) {
      types += "DDDDdCZ"[random() % 7];
      put_message(stream, types.back(), Bytes(random() % (random() % 20 == 0 ? 3000 : 40), '\x01'));
    }
    StreamScanner scanner(all_but_rows, kLimit);
    Seen seen;
    for (ByteView rest = stream; !rest.empty();) {
      const ByteView chunk = rest.substr(0, 1 + random() % 600);
      (random() % 2 == 0 ? scan : scan_by_runs)(scanner, chunk, seen);
      rest.remove_prefix(chunk.size());
    }
    ASSERT_EQ(seen.stream, stream);
    ASSERT_EQ(seen.begun, types);
    ASSERT_FALSE(scanner.mid_message());
  }
}

}  // namespace
}  // namespace herdgate::wire

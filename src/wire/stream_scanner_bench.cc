// The relay's inner loop: 64 kB chunks of 100-octet rows, by the piece and by the run.
#include "wire/stream_scanner.h"

#include <benchmark/benchmark.h>

#include "wire/frontend.h"

namespace herdgate::wire {
namespace {

constexpr std::size_t kChunk = 64 * 1024;

bool all_but_rows(char type) { return type != be::kDataRow; }

Bytes rows_of(std::size_t row_bytes) {
  Bytes stream;
  const Bytes payload(row_bytes - kHeaderBytes, 'x');
  while (stream.size() < 16 * kChunk) put_message(stream, be::kDataRow, payload);
  return stream;
}

// The stream repeats, so that chunks are cut everywhere in a row.
ByteView next_chunk(const Bytes& stream, std::size_t& at) {
  if (at == stream.size()) at = 0;
  const ByteView chunk = ByteView(stream).substr(at, kChunk);
  at += chunk.size();
  return chunk;
}

void ScanByPiece(benchmark::State& state) {
  const Bytes stream = rows_of(static_cast<std::size_t>(state.range(0)));
  StreamScanner scanner(all_but_rows, 1 << 20);
  std::size_t at = 0, bytes = 0;
  for (auto _ : state) {
    scanner.begin(next_chunk(stream, at));
    for (auto piece = scanner.next(); piece->kind != Piece::Kind::end; piece = scanner.next())
      bytes += piece->bytes.size();
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}
BENCHMARK(ScanByPiece)->Arg(30)->Arg(100)->Arg(1000);

void ScanByRun(benchmark::State& state) {
  const Bytes stream = rows_of(static_cast<std::size_t>(state.range(0)));
  StreamScanner scanner(all_but_rows, 1 << 20);
  std::size_t at = 0, bytes = 0;
  for (auto _ : state) {
    scanner.begin(next_chunk(stream, at));
    bytes += scanner.take_rows(be::kDataRow).bytes.size();
    for (auto piece = scanner.next(); piece->kind != Piece::Kind::end; piece = scanner.next())
      bytes += piece->bytes.size();
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}
BENCHMARK(ScanByRun)->Arg(30)->Arg(100)->Arg(1000);

// A short result, as most are: description, row, tag, ready.
void ScanShortResult(benchmark::State& state) {
  Bytes stream;
  put_message(stream, be::kRowDescription, Bytes(40, 'x'));
  put_message(stream, be::kDataRow, Bytes(20, 'x'));
  put_message(stream, be::kCommandComplete, Bytes("SELECT 1\0", 9));
  put_message(stream, be::kReady, "I");
  StreamScanner scanner(all_but_rows, 1 << 20);
  for (auto _ : state) {
    scanner.begin(stream);
    for (auto piece = scanner.next(); piece->kind != Piece::Kind::end; piece = scanner.next())
      benchmark::DoNotOptimize(piece->bytes.data());
  }
}
BENCHMARK(ScanShortResult);

}  // namespace
}  // namespace herdgate::wire

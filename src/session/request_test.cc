#include "session/request.h"

#include <gtest/gtest.h>

#include "wire/frontend.h"

namespace herdgate::session {
namespace {
using Kind = Request::Kind;

Bytes batch(bool with_sync, std::size_t parameter_bytes = 3) {
  Bytes out;
  wire::put_parse(out, wire::Parse{"s", "select $1", ByteView("\0\0", 2)});
  wire::put_bind(out, wire::Bind{"", "s", Bytes(parameter_bytes, 'x')});
  wire::put_execute(out, "", 0);
  if (with_sync) wire::put_empty(out, wire::fe::kSync);
  return out;
}

TEST(NextRequest, WaitsForTheWholeUnitAtEveryCutPoint) {
  const Bytes unit = batch(true);
  for (std::size_t cut = 0; cut < unit.size(); ++cut) {
    EXPECT_EQ(next_request(ByteView(unit).substr(0, cut)).kind, Kind::need_more) << cut;
  }
  const Request request = next_request(unit + "Q");
  EXPECT_EQ(request.kind, Kind::extended);
  EXPECT_TRUE(request.synced);
  EXPECT_EQ(request.bytes, unit.size());
}

TEST(NextRequest, FlushCutsTheUnit) {
  Bytes input = batch(false);
  wire::put_empty(input, wire::fe::kFlush);
  const std::size_t cut = input.size();
  wire::put_empty(input, wire::fe::kSync);
  const Request request = next_request(input);
  EXPECT_EQ(request.kind, Kind::extended);
  EXPECT_FALSE(request.synced);
  EXPECT_EQ(request.bytes, cut);
}

TEST(NextRequest, ALongBindIsStreamedAfterWhatCameBeforeIt) {
  const Bytes input = batch(true, 1 << 20);
  Bytes parse;
  wire::put_parse(parse, wire::Parse{"s", "select $1", ByteView("\0\0", 2)});
  Request request = next_request(ByteView(input).substr(0, 5000));
  EXPECT_EQ(request.kind, Kind::extended);
  EXPECT_EQ(request.bytes, parse.size());
  request = next_request(ByteView(input).substr(parse.size(), 5000));
  EXPECT_EQ(request.kind, Kind::extended);
  EXPECT_TRUE(request.streamed);
  EXPECT_EQ(request.bytes, 5000u);
  EXPECT_GT(request.missing, 1000000u);
}

// issue: a long Bind was taken up as soon as its header was there, and refused where its names had not come yet.
TEST(NextRequest, ALongBindWaitsForItsNames) {
  Bytes bind;
  wire::put_bind(bind, wire::Bind{"portal", "s", Bytes(1 << 20, 'x')});
  const std::size_t names = wire::kHeaderBytes + std::string_view("portal s ").size();
  for (std::size_t cut = 0; cut < names; ++cut) {
    EXPECT_EQ(next_request(ByteView(bind).substr(0, cut)).kind, Kind::need_more) << cut;
  }
  EXPECT_TRUE(next_request(ByteView(bind).substr(0, names)).streamed);
}

TEST(NextRequest, NamesInALongBindAreNotWaitedForBeyondMeasure) {
  Bytes bind;
  wire::put_bind(bind, wire::Bind{std::string(1 << 20, 'p'), "s", "x"});
  EXPECT_EQ(next_request(ByteView(bind).substr(0, kMaxUnitBytes - 1)).kind, Kind::need_more);
  EXPECT_TRUE(next_request(ByteView(bind).substr(0, kMaxUnitBytes)).streamed);
}

TEST(NextRequest, CopyDataPassesInPieces) {
  Bytes input;
  wire::put_message(input, wire::fe::kCopyData, Bytes(1000, 'x'));
  const Request request = next_request(ByteView(input).substr(0, 100));
  EXPECT_EQ(request.kind, Kind::copy_data);
  EXPECT_EQ(request.bytes, 100u);
  EXPECT_EQ(request.missing, 905u);
}

TEST(NextRequest, HostileBytesAreBroken) {
  EXPECT_EQ(next_request(ByteView("Q\0\0\0\3", 5)).kind, Kind::broken);
  EXPECT_EQ(next_request(ByteView("Q\xff\xff\xff\xff", 5)).kind, Kind::broken);
  EXPECT_EQ(next_request(ByteView("?\0\0\0\4", 5)).kind, Kind::broken);
  EXPECT_EQ(next_request(ByteView("P\x7f\xff\xff\xff", 5)).kind, Kind::broken);
}

}  // namespace
}  // namespace herdgate::session

#include "admin/http_request.h"

#include <gtest/gtest.h>

#include <random>

using namespace std::literals;

namespace herdgate::admin {
namespace {

using Read = HttpRequestReader::Read;

Read read_whole(Bytes text) { return HttpRequestReader().read(text); }
int status_of(const Read& read) {
  const auto* refusal = std::get_if<HttpRefusal>(&read);
  return refusal ? refusal->status : 0;
}

TEST(HttpRequest, AHeadIsReadOctetByOctet) {
  HttpRequestReader reader;
  const Bytes text = "GET /metrics?x HTTP/1.1\r\nHost: h\r\nAccept: a\r\naccept: b;q=1\r\n\r\n";
  Bytes input;
  for (std::size_t i = 0; i + 1 < text.size(); ++i) {
    input += text[i];
    ASSERT_TRUE(std::holds_alternative<std::monostate>(reader.read(input))) << i;
  }
  input += text.back();
  const Read read = reader.read(input);
  const auto& request = std::get<HttpRequest>(read);
  EXPECT_EQ(request.method, Method::get);
  EXPECT_EQ(request.target, "/metrics?x");
  EXPECT_EQ(request.accept, "a,b;q=1");
  EXPECT_TRUE(request.keep_alive);
  EXPECT_FALSE(request.old);
  EXPECT_FALSE(request.has_body);
  EXPECT_TRUE(input.empty());
}

TEST(HttpRequest, WhatFollowsStaysForTheNext) {
  HttpRequestReader reader;
  Bytes input = "HEAD /a HTTP/1.0\r\n\r\nPOST /b HTTP/1.1\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";
  Read read = reader.read(input);
  EXPECT_EQ(std::get<HttpRequest>(read).method, Method::head);
  EXPECT_FALSE(std::get<HttpRequest>(read).keep_alive);
  EXPECT_TRUE(std::get<HttpRequest>(read).old);
  reader.reset();
  read = reader.read(input);
  EXPECT_EQ(std::get<HttpRequest>(read).method, Method::other);
  EXPECT_EQ(std::get<HttpRequest>(read).target, "/b");
  EXPECT_FALSE(std::get<HttpRequest>(read).keep_alive);
  EXPECT_TRUE(std::get<HttpRequest>(read).has_body);
  EXPECT_EQ(input, "abc");
}

TEST(HttpRequest, BodiesAreSeen) {
  const auto has_body = [](std::string_view field) {
    return std::get<HttpRequest>(read_whole(fmt::format("GET / HTTP/1.1\r\n{}\r\n\r\n", field))).has_body;
  };
  EXPECT_FALSE(has_body("Content-Length: 0"));
  EXPECT_TRUE(has_body("Content-Length: 99999999999"));
  EXPECT_TRUE(has_body("Transfer-Encoding: chunked"));
}

TEST(HttpRequest, WhatIsNoHttpIsRefused) {
  for (const char* text : {"\x16\x03\x01\x02\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/2.0\r\n\r\n", "GET  HTTP/1.1\r\n\r\n",
                           "GET / HTTP/1.1\r\nno colon\r\n\r\n", "GET / HTTP/1.1\nHost: h\n\n",
                           "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
                           "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"})
    EXPECT_EQ(status_of(read_whole(text)), 400) << text;
}

TEST(HttpRequest, AHeadHasALimit) {
  const auto with_field = [](std::size_t bytes) {
    const std::string around = "GET / HTTP/1.1\r\nX: \r\n\r\n";
    return "GET / HTTP/1.1\r\nX: " + std::string(bytes - around.size(), 'x') + "\r\n\r\n";
  };
  EXPECT_TRUE(std::holds_alternative<HttpRequest>(read_whole(with_field(kMaxHead))));
  EXPECT_EQ(status_of(read_whole(with_field(kMaxHead + 1))), 431);
  EXPECT_EQ(status_of(read_whole("GET /" + std::string(kMaxHead, 'x'))), 431);
  EXPECT_EQ(status_of(read_whole(std::string(kMaxHead + 1, 'G'))), 431);
  std::string many = "GET / HTTP/1.1\r\n";
  while (many.size() <= kMaxHead) many += "a: b\r\n";
  EXPECT_EQ(status_of(read_whole(many)), 431);
}

// Nothing that comes in pieces grows without end, whatever it is.
TEST(HttpRequest, RandomOctetsEndSomehow) {
  std::minstd_rand random(5);
  for (int round = 0; round < 300; ++round) {
    HttpRequestReader reader;
    Bytes input = round % 2 ? "GET / HTTP/1.1\r\n" : "";
    bool over = false;
    for (std::size_t sent = 0; !over && sent < 3 * kMaxHead; sent += 64) {
      for (int i = 0; i < 64; ++i) input += static_cast<char>(random() >> 8);
      over = !std::holds_alternative<std::monostate>(reader.read(input));
    }
    EXPECT_TRUE(over);
  }
}

}  // namespace
}  // namespace herdgate::admin

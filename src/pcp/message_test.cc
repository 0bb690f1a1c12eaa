#include "pcp/message.h"

#include <gtest/gtest.h>

#include "auth/digest.h"
#include "pcp/errc.h"

using namespace std::literals;

namespace herdgate::pcp {
namespace {

Request asked(Ask ask, int number = 0, char option = 0) { return {ask, number, option, {}, {}}; }

// Letters and payloads as the original's clients send them.
TEST(Message, RequestsAsTheOriginalSendsThem) {
  const std::vector<std::pair<Request, Bytes>> cases = {
      {asked(Ask::salt), "M\0\0\0\4"s},
      {{Ask::login, 0, 0, "u", "p"}, "R\0\0\0\10u\0p\0"s},
      {{Ask::set_parameter, 0, 0, "client_min_messages", "notice"},
       "A\0\0\0\x1f"
       "client_min_messages\0notice\0"s},
      {asked(Ask::pool_status), "B\0\0\0\4"s},
      {asked(Ask::attach, 1),
       "C\0\0\0\6"
       "1\0"s},
      {asked(Ask::node_info, -1), "I\0\0\0\7-1\0"s},
      {asked(Ask::promote, 2, option::kSwitchover),
       "J\0\0\0\10"
       "2 \0s"s},
      {asked(Ask::promote_gracefully, 12, option::kRoleOnly),
       "j\0\0\0\11"
       "12 \0n"s},
      {asked(Ask::stop, 0, option::kFast), "T\0\0\0\5f"s},
      {asked(Ask::reload, 0, option::kCluster), "Z\0\0\0\5c"s},
      {asked(Ask::bye), "X\0\0\0\4"s},
  };
  for (const auto& [request, octets] : cases) {
    Bytes out;
    put_request(out, request);
    EXPECT_EQ(out, octets);
    const auto frame = first_frame(octets, kRequestLimit);
    ASSERT_TRUE(frame && *frame);
    EXPECT_EQ((**frame).whole_bytes, octets.size());
    const auto back = parse_request(**frame);
    ASSERT_TRUE(back) << back.error().text();
    EXPECT_EQ(*back, request);
  }
}

// The database, or an empty text for all; letters that stand for nothing else.
TEST(Message, PauseAndResumeAreOurs) {
  for (const auto& [request, octets, words] : std::vector<std::tuple<Request, Bytes, std::string>>{
           {{Ask::pause, 0, 0, "db", ""}, "U\0\0\0\7db\0"s, "pause database \"db\""},
           {{Ask::pause, 0, 0, "", ""}, "U\0\0\0\5\0"s, "pause all databases"},
           {{Ask::resume, 0, 0, "db", ""}, "Y\0\0\0\7db\0"s, "resume database \"db\""},
           {{Ask::resume, 0, 0, "", ""}, "Y\0\0\0\5\0"s, "resume all databases"}}) {
    Bytes out;
    put_request(out, request);
    EXPECT_EQ(out, octets);
    EXPECT_EQ(*parse_request(**first_frame(octets, kRequestLimit)), request);
    EXPECT_EQ(describe(request), words);
  }
  EXPECT_EQ(reply_letter(Ask::pause), 'u');
  EXPECT_EQ(reply_letter(Ask::resume), 'y');
  for (const char letter : "ABCDdFGHIJjLNOPTtVWZXMRabcdghilnprtvwzmEN"s)
    for (const Ask ours : {Ask::pause, Ask::resume}) {
      EXPECT_NE(static_cast<char>(ours), letter);
      EXPECT_NE(reply_letter(ours), letter);
    }
  Bytes longest;
  put_request(longest, {Ask::pause, 0, 0, std::string(kMaxNameBytes, 'x'), ""});
  EXPECT_TRUE(*first_frame(longest, kRequestLimit));
  longest.clear();
  put_request(longest, {Ask::pause, 0, 0, std::string(kMaxNameBytes + 1, 'x'), ""});
  EXPECT_FALSE(first_frame(longest, kRequestLimit));
}

TEST(Message, AFrameComesOutTheSameAtEveryCut) {
  const Bytes octets =
      "C\0\0\0\6"
      "1\0"s;
  for (std::size_t cut = 0; cut < octets.size(); ++cut) {
    const auto frame = first_frame(ByteView(octets).substr(0, cut), kRequestLimit);
    ASSERT_TRUE(frame);
    EXPECT_FALSE(*frame) << cut;
  }
}

TEST(Message, HostileLengths) {
  const std::vector<std::pair<Bytes, std::string>> cases = {
      {"M\0\0\0\0"s, "0"},          {"M\0\0\0\3"s, "3"},
      {"M\0\0\1\4"s, "260"},        {"M\x7f\xff\xff\xff"s, "2147483647"},
      {"M\xff\xff\xff\xff"s, "-1"}, {"GET / HTTP/1.0\r\n"s, "1163141167"}};
  for (const auto& [octets, number] : cases) {
    const auto frame = first_frame(octets, kRequestLimit);
    ASSERT_FALSE(frame);
    EXPECT_EQ(frame.error().code, make_error_code(Errc::bad_length));
    EXPECT_EQ(frame.error().context, number);
  }
  EXPECT_TRUE(first_frame("M\0\0\1\3"s, kRequestLimit));  // 259 is allowed
}

TEST(Message, PayloadsThatDoNotFit) {
  const auto refused = [](char letter, ByteView payload) {
    const auto parsed = parse_request({letter, payload, 0});
    return parsed ? std::error_code() : parsed.error().code;
  };
  EXPECT_EQ(refused('?', ""), make_error_code(Errc::unknown_request));
  for (const auto& [letter, payload] : std::vector<std::pair<char, Bytes>>{{'I', ""},
                                                                           {'C', "x\0"s},
                                                                           {'C', "1x\0"s},
                                                                           {'C', "99999999999\0"s},
                                                                           {'T', ""},
                                                                           {'J', "1"},
                                                                           {'J', "1 \0"s},
                                                                           {'J', " \0s"s},
                                                                           {'U', ""},
                                                                           {'Y', ""},
                                                                           {'R', "u\0"s}})
    EXPECT_EQ(refused(letter, payload), make_error_code(Errc::bad_payload)) << letter << payload;
}

TEST(Message, TextsOfAReply) {
  Bytes out;
  put_done(out, 'n', std::vector<std::string>{"2", "", "x\0y"s});
  EXPECT_EQ(out,
            "n\0\0\0\x19"
            "CommandComplete\0"
            "2\0\0x\0"s);
  EXPECT_EQ(texts(ByteView(out).substr(kHeaderBytes)),
            (std::vector<std::string_view>{"CommandComplete", "2", "", "x"}));
  EXPECT_EQ(texts("a"), (std::vector<std::string_view>{"a"}));
  EXPECT_TRUE(texts("").empty());
}

TEST(Message, TroubleHasTheOriginalsFields) {
  Bytes out;
  put_trouble(out, {"ERROR", "informing node info failed", "invalid node ID : 7", "", "XX000"});
  EXPECT_EQ(out.substr(0, 1), "E");
  EXPECT_EQ(out.substr(kHeaderBytes),
            "SERROR\0CXX000\0Minforming node info failed\0Dinvalid node ID : 7\0Fpcp\0L0\0\0"s);
  const Trouble back = parse_trouble(ByteView(out).substr(kHeaderBytes));
  EXPECT_EQ(back, (Trouble{"ERROR", "informing node info failed", "invalid node ID : 7", "", "XX000"}));
  EXPECT_FALSE(back.fatal());
}

TEST(Message, LoginProof) {
  const std::string stored = *auth::md5_hex("secret");
  const std::string inner = *auth::md5_hex(stored + "postgres");
  EXPECT_EQ(*login_proof(stored, "postgres", "\1\2\3\4"), *auth::md5_hex(inner + "\1\2\3\4"));
}

}  // namespace
}  // namespace herdgate::pcp

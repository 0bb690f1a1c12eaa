#include <gtest/gtest.h>

#include "wire/backend.h"
#include "wire/frontend.h"

namespace herdgate::wire {
namespace {
using namespace std::string_view_literals;

// Every proper beginning of a message, and the message with an octet more, must be refused.
template <class Parser>
void refuses_all_but(ByteView payload, Parser parse) {
  ASSERT_TRUE(parse(payload));
  for (std::size_t cut = 0; cut < payload.size(); ++cut) EXPECT_FALSE(parse(payload.substr(0, cut))) << cut;
  EXPECT_FALSE(parse(Bytes(payload) + "x"));
}

TEST(Startup, ReadsVersionAndParametersInOrder) {
  Bytes packet;
  put_startup(packet, 2, {{"user", "bob"}, {"database", ""}, {"_pq_.fancy", "1"}, {"options", "-c a=b"}});
  EXPECT_EQ(load_u32(packet.data()), packet.size());
  const auto startup = parse_startup(ByteView(packet).substr(4));
  ASSERT_TRUE(startup);
  EXPECT_EQ(startup->kind, Startup::Kind::startup);
  EXPECT_EQ(startup->major, 3);
  EXPECT_EQ(startup->minor, 2);
  ASSERT_EQ(startup->parameters.size(), 3u);
  EXPECT_EQ(startup->parameters[2].first, "options");
  EXPECT_EQ(startup->parameter("user"), "bob");
  EXPECT_EQ(startup->parameter("absent"), "");
  EXPECT_EQ(startup->unknown_options, std::vector<std::string>{"_pq_.fancy"});
}

TEST(Startup, RefusesWhatIsCutOrTooLong) {
  Bytes packet;
  put_startup(packet, 0, {{"user", "bob"}});
  const ByteView payload = ByteView(packet).substr(4);
  refuses_all_but(payload, parse_startup);
  Bytes large;
  put_startup(large, 0, {{"user", std::string(kMaxStartup, 'x')}});
  const auto refused = parse_startup(ByteView(large).substr(4));
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error() == make_error_code(Errc::too_large));
}

TEST(Startup, KnowsCancelSslGssAndForeignMajors) {
  Bytes cancel;
  put_cancel(cancel, 4711, "\x01\x02\x03\x04"sv);
  const auto parsed = parse_startup(ByteView(cancel).substr(4));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->kind, Startup::Kind::cancel);
  EXPECT_EQ(parsed->pid, 4711);
  EXPECT_EQ(parsed->secret, "\x01\x02\x03\x04");
  EXPECT_EQ(parse_startup("\x04\xd2\x16\x2f"sv)->kind, Startup::Kind::ssl_request);
  EXPECT_EQ(parse_startup("\x04\xd2\x16\x30"sv)->kind, Startup::Kind::gss_request);
  EXPECT_FALSE(parse_startup("\x04\xd2\x16\x2fx"sv));
  const auto old = parse_startup("\0\2\0\0and more"sv);
  ASSERT_TRUE(old);
  EXPECT_EQ(old->major, 2);
}

TEST(Startup, BoundsTheCancelSecret) {
  for (const auto& [size, good] : {std::pair{3, false}, {4, true}, {256, true}, {257, false}}) {
    Bytes cancel;
    put_cancel(cancel, 1, Bytes(static_cast<std::size_t>(size), 'k'));
    EXPECT_EQ(parse_startup(ByteView(cancel).substr(4)).has_value(), good) << size;
  }
}

TEST(Frontend, ParseKeepsItsTypesAsTheyCame) {
  const ByteView types = "\0\2\0\0\0\x17\0\0\0\x19"sv;
  Bytes message;
  put_parse(message, {"s1", "select $1, $2", types});
  const ByteView payload = ByteView(message).substr(kHeaderBytes);
  const auto parse = parse_parse(payload);
  ASSERT_TRUE(parse);
  EXPECT_EQ(parse->statement, "s1");
  EXPECT_EQ(parse->query, "select $1, $2");
  EXPECT_EQ(parse->types, types);
  refuses_all_but(payload, parse_parse);
}

TEST(Frontend, BindGivesItsNamesAndTheRestUntouched) {
  // One format, two values of which one is NULL, one result format.
  const ByteView rest = "\0\1\0\1\0\2\0\0\0\3abc\xff\xff\xff\xff\0\1\0\0"sv;
  Bytes message;
  put_bind(message, {"p", "s1", rest});
  const ByteView payload = ByteView(message).substr(kHeaderBytes);
  const auto bind = parse_bind(payload);
  ASSERT_TRUE(bind);
  EXPECT_EQ(bind->portal, "p");
  EXPECT_EQ(bind->statement, "s1");
  EXPECT_EQ(bind->rest, rest);
  refuses_all_but(payload, parse_bind);
}

TEST(Frontend, BindRefusesANegativeLength) {
  EXPECT_FALSE(parse_bind("\0\0\0\0\0\1\xff\xff\xff\xfe\0\0"sv));
  EXPECT_TRUE(parse_bind("\0\0\0\0\0\1\xff\xff\xff\xff\0\0"sv));
}

TEST(Frontend, BindHeadComesAsSoonAsBothNamesAreThere) {
  const ByteView payload = "portal\0name\0\0\0"sv;
  for (std::size_t size = 0; size <= payload.size(); ++size) {
    const auto head = parse_bind_head(payload.substr(0, size));
    ASSERT_TRUE(head);
    ASSERT_EQ(head->has_value(), size >= 12) << size;
    if (!*head) continue;
    EXPECT_EQ((*head)->portal, "portal");
    EXPECT_EQ((*head)->statement, "name");
  }
}

TEST(Frontend, BindWithoutRestIsABindWithoutValues) {
  Bytes message;
  put_bind(message, {"", "s", ""});
  EXPECT_TRUE(parse_bind(ByteView(message).substr(kHeaderBytes)));
}

TEST(Frontend, DescribeCloseExecuteQueryGoThereAndBack) {
  Bytes describe, close, execute, query;
  put_describe(describe, 'P', "p1");
  put_close(close, 'S', "");
  put_execute(execute, "p1", 77);
  put_query(query, "select 1");
  EXPECT_EQ(describe[0], fe::kDescribe);
  EXPECT_EQ(close[0], fe::kClose);
  refuses_all_but(ByteView(describe).substr(kHeaderBytes), parse_describe_or_close);
  refuses_all_but(ByteView(close).substr(kHeaderBytes), parse_describe_or_close);
  refuses_all_but(ByteView(execute).substr(kHeaderBytes), parse_execute);
  refuses_all_but(ByteView(query).substr(kHeaderBytes), parse_query);
  EXPECT_EQ(parse_execute(ByteView(execute).substr(kHeaderBytes))->max_rows, 77);
  EXPECT_EQ(*parse_query(ByteView(query).substr(kHeaderBytes)), "select 1");
  EXPECT_FALSE(parse_describe_or_close("Xname\0"sv));
  EXPECT_FALSE(parse_query("a\0b\0"sv));
}

TEST(Frontend, FunctionCallIsReadToItsEnd) {
  const ByteView payload = "\0\0\x03\xbb\0\1\0\1\0\1\0\0\0\4\0\0\0\x07\0\1"sv;
  EXPECT_EQ(*parse_function_call_oid(payload), 955u);
  refuses_all_but(payload, parse_function_call_oid);
}

TEST(Frontend, EmptyMessagesAreFiveOctets) {
  Bytes out;
  put_empty(out, fe::kSync);
  EXPECT_EQ(out, "S\0\0\0\4"sv);
}

TEST(Backend, ReportHasTheFieldsInPgpoolsOrder) {
  Bytes out;
  put_error(out, {"FATAL", "08P01", "broken", "A detail.", "A hint.", "f.cc", 12});
  EXPECT_EQ(ByteView(out).substr(0, 1), "E");
  EXPECT_EQ(load_u32(out.data() + 1) + 1, out.size());
  EXPECT_EQ(ByteView(out).substr(kHeaderBytes), "SFATAL\0C08P01\0Mbroken\0DA detail.\0HA hint.\0Ff.cc\0L12\0\0"sv);
  Bytes notice;
  put_notice(notice, {.severity = "NOTICE", .sqlstate = "00000", .message = "m"});
  EXPECT_EQ(ByteView(notice).substr(kHeaderBytes), "SNOTICE\0C00000\0Mm\0F\0L0\0\0"sv);
  EXPECT_EQ(notice[0], be::kNotice);
}

TEST(Backend, ReportOfAServerPrefersTheUnlocalisedSeverity) {
  const ByteView payload = "SFEHLER\0VERROR\0C42P01\0Mno such\0Ddet\0Hhint\0P8\0Wcontext\0\0"sv;
  const auto report = parse_report(payload);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->severity, "ERROR");
  EXPECT_EQ(report->sqlstate, "42P01");
  EXPECT_EQ(report->message, "no such");
  EXPECT_EQ(report->detail, "det");
  EXPECT_EQ(report->hint, "hint");
  refuses_all_but(payload, parse_report);
  EXPECT_EQ(parse_report("SFEHLER\0\0"sv)->severity, "FEHLER");  // before 9.6 there was no V
}

TEST(Backend, SmallMessagesGoThereAndBack) {
  Bytes status, key, tag;
  put_parameter_status(status, "TimeZone", "UTC");
  put_backend_key(key, 99, "abcd");
  put_command_complete(tag, "INSERT 0 1");
  EXPECT_EQ(parse_parameter_status(ByteView(status).substr(kHeaderBytes))->value, "UTC");
  refuses_all_but(ByteView(status).substr(kHeaderBytes), parse_parameter_status);
  EXPECT_EQ(parse_backend_key(ByteView(key).substr(kHeaderBytes))->secret, "abcd");
  EXPECT_FALSE(parse_backend_key(ByteView(key).substr(kHeaderBytes, 7)));
  EXPECT_EQ(*parse_command_tag(ByteView(tag).substr(kHeaderBytes)), "INSERT 0 1");
  refuses_all_but(ByteView(tag).substr(kHeaderBytes), parse_command_tag);
  Bytes notification;
  put_notification(notification, {.pid = 5, .channel = "chan", .payload = "pay"});
  EXPECT_EQ(ByteView(notification), "A\0\0\0\x11\0\0\0\5chan\0pay\0"sv);
  refuses_all_but(ByteView(notification).substr(kHeaderBytes), parse_notification);
  refuses_all_but("T"sv, parse_ready);
  EXPECT_FALSE(parse_ready("x"));
}

TEST(Backend, DataRowTellsNullFromEmpty) {
  const ByteView payload = "\0\3\0\0\0\2ab\xff\xff\xff\xff\0\0\0\0"sv;
  const auto row = parse_data_row(payload);
  ASSERT_TRUE(row);
  ASSERT_EQ(row->size(), 3u);
  EXPECT_EQ((*row)[0], "ab");
  EXPECT_EQ((*row)[1], std::nullopt);
  EXPECT_EQ((*row)[2], "");
  refuses_all_but(payload, parse_data_row);
  EXPECT_FALSE(parse_data_row("\0\1\xff\xff\xff\xfe"sv));
}

TEST(Backend, OwnResultsAreText) {
  Bytes out;
  const std::string columns[] = {"node"}, values[] = {"17"};
  put_text_row_description(out, columns);
  EXPECT_EQ(out, "T\0\0\0\x1d\0\1node\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\0\0"sv);
  out.clear();
  put_text_row(out, values);
  EXPECT_EQ(out,
            "D\0\0\0\x0c\0\1\0\0\0\2"
            "17"sv);
}

TEST(Backend, NegotiateSendsTheWholeVersionWord) {
  Bytes out;
  const std::string unknown[] = {"_pq_.x"};
  put_negotiate(out, 2, unknown);
  EXPECT_EQ(out, "v\0\0\0\x13\0\3\0\2\0\0\0\1_pq_.x\0"sv);
}

TEST(Backend, PlainMessages) {
  Bytes out;
  put_ready(out, 'T');
  put_empty_query(out);
  put_parse_complete(out);
  put_bind_complete(out);
  put_close_complete(out);
  put_no_data(out);
  EXPECT_EQ(out,
            "Z\0\0\0\5TI\0\0\0\4"
            "1\0\0\0\4"
            "2\0\0\0\4"
            "3\0\0\0\4n\0\0\0\4"sv);
  out.clear();
  const std::uint32_t types[] = {23, 25};
  put_parameter_description(out, types);
  EXPECT_EQ(out, "t\0\0\0\x0e\0\2\0\0\0\x17\0\0\0\x19"sv);
  out.clear();
  put_authentication(out, 5, "salt");
  EXPECT_EQ(out, "R\0\0\0\x0c\0\0\0\5salt"sv);
}

TEST(Types, EveryLetterHasItsName) {
  for (const char type : "BCdcfDEHFPpQSX"sv) EXPECT_NE(frontend_name(type), "") << type;
  for (const char type : "RK23CdcGHWDIEVvnNAtS1sZT"sv) EXPECT_NE(backend_name(type), "") << type;
  EXPECT_EQ(frontend_name('?'), "");
  EXPECT_EQ(backend_name('?'), "");
  EXPECT_EQ(frontend_name('D'), "Describe");
  EXPECT_EQ(backend_name('D'), "DataRow");
}

}  // namespace
}  // namespace herdgate::wire

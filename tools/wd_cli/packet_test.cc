#include "packet.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace herdgate::wd_cli {
namespace {

using Json = nlohmann::json;
using namespace std::string_view_literals;

Bytes answer(char type, std::string_view json) {
  Bytes out(1, type);
  append_u32(out, static_cast<std::uint32_t>(json.size()));
  return out.append(json);
}

Json body(ByteView request, char type) {
  EXPECT_EQ(request.front(), type);
  EXPECT_EQ(load_u32(request.data() + 1), request.size() - kHeaderBytes);
  return Json::parse(request.substr(kHeaderBytes));
}

TEST(Packet, Requests) {
  EXPECT_EQ(nodes_request(""), "3\0\0\0\x0d{\"NodeID\":-1}"sv);
  EXPECT_EQ(body(nodes_request("k\"y"), '3'), (Json{{"NodeID", -1}, {"IPCAuthKey", "k\"y"}}));
  EXPECT_EQ(body(state_request(1, false, "", "key"), '2'),
            (Json{{"NodeID", 1}, {"NodeStatus", 1}, {"IPCAuthKey", "key"}}));
  EXPECT_EQ(body(state_request(0, true, "be\"cause\n", ""), '2'),
            (Json{{"NodeID", 0}, {"NodeStatus", 2}, {"Message", "be\"cause\n"}}));
  EXPECT_EQ(body(state_request(0, true, "\xff", ""), '2')["Message"], "\xef\xbf\xbd");  // no UTF-8
}

TEST(Packet, AnswersCutAnywhere) {
  const Bytes whole = answer('7', "{\"a\":1}\0"sv);
  for (std::size_t cut = 0; cut < whole.size(); ++cut) {
    const auto part = first_packet(ByteView(whole).substr(0, cut));
    EXPECT_TRUE(part && !*part) << cut;
  }
  const Bytes longer = whole + "more";
  const auto packet = first_packet(longer);
  ASSERT_TRUE(packet && *packet);
  EXPECT_EQ((**packet).type, '7');
  EXPECT_EQ((**packet).json, "{\"a\":1}");
  EXPECT_FALSE(first_packet("7\x00\x10\x00\x01"sv));
  EXPECT_FALSE(first_packet("7\xff\xff\xff\xff"sv));
  EXPECT_TRUE(first_packet("7\x00\x10\x00\x00"sv));
}

TEST(Packet, Refusals) {
  EXPECT_EQ(refusal({'7', "{}"}), std::nullopt);
  EXPECT_EQ(refusal({'6', R"({"MESSAGE":"authentication failed: invalid KEY"})"}),
            "The watchdog answered: authentication failed: invalid KEY.");
  EXPECT_EQ(refusal({'6', ""}), "The watchdog refused the request.");
  EXPECT_EQ(refusal({'6', "[]"}), "The watchdog refused the request.");
  EXPECT_EQ(refusal({'6', R"({"MESSAGE":"\u001bc"})"}), "The watchdog answered: ?c.");
  EXPECT_LT(refusal({'6', Json{{"MESSAGE", std::string(100000, 'x')}}.dump()})->size(), 600u);
  EXPECT_TRUE(refusal({'5', ""})->starts_with("The watchdog cluster is about to change"));
  EXPECT_TRUE(refusal({'8', ""})->ends_with("the time was over."));
  EXPECT_EQ(refusal({'\0', ""}), "The watchdog's answer is of an unknown kind (0).");
}

}  // namespace
}  // namespace herdgate::wd_cli

#include "auth/policy.h"

#include <gtest/gtest.h>

#include "auth/auth_wire.h"
#include "auth/md5.h"
#include "auth/server_auth.h"

namespace herdgate::auth {
namespace {

using Method = ClientChallenge::Method;
using Check = ClientChallenge::Check;
using Kind = StoredSecret::Kind;

constexpr std::string_view kNoEntry = "pool_passwd file does not contain an entry for \"alice\"";

StoredSecret secret(Kind kind) {
  switch (kind) {
    case Kind::none:
      return {};
    case Kind::plain:
      return *parse_stored("TEXTpencil");
    case Kind::md5:
      return *parse_stored(md5_entry("pencil", "alice")->view());
    case Kind::aes:
      return *parse_stored("AESqiSVgRwNsmx6kzTHrNFLcg==");
    case Kind::scram:
      return *parse_stored(print_verifier(*derive_keys("pencil", "0123456789abcdef", 2)));
  }
  return {};
}

PolicyInput input() { return {.user = "alice", .database = "shop", .host = "10.0.0.7", .tls = false}; }
PolicyInput with_rule(HbaMethod method, Kind stored) {
  PolicyInput in = input();
  in.enable_pool_hba = true;
  in.rule = method;
  in.pool_passwd = secret(stored);
  return in;
}
PolicyInput without_rules(ServerMethod server, Kind stored, bool clear_text = false) {
  PolicyInput in = input();
  in.server = server;
  in.pool_passwd = secret(stored);
  in.allow_clear_text_frontend_auth = clear_text;
  return in;
}

// One line for a decision, so that tables below read like the manual: "md5", "password by server", "refused: text".
std::string in_words(const Decision& decision) {
  if (std::holds_alternative<AskServer>(decision)) return "ask the server";
  if (const auto* refusal = std::get_if<Refusal>(&decision))
    return "refused: " + refusal->text + ": " + refusal->detail;
  const auto& challenge = std::get<ClientChallenge>(decision);
  const std::string mock = challenge.known ? "" : "mock ";
  switch (challenge.method) {
    case Method::trust:
      return "trust";
    case Method::password:
      return challenge.check == Check::by_us ? "password by us" : "password by server";
    case Method::md5:
      return mock + "md5";
    case Method::scram:
      return mock + "scram";
  }
  return "?";
}

std::string no_entry(std::string_view text) { return "refused: " + std::string(text) + ": " + std::string(kNoEntry); }

TEST(Policy, EveryRuleWithEveryStoredForm) {
  const std::string md5_none = no_entry("md5 authentication failed");
  const std::string scram_none = no_entry("SCRAM authentication failed");
  const std::tuple<HbaMethod, Kind, std::string> rows[] = {
      {HbaMethod::trust, Kind::none, "trust"},
      {HbaMethod::trust, Kind::plain, "trust"},
      {HbaMethod::trust, Kind::md5, "trust"},
      {HbaMethod::trust, Kind::aes, "trust"},
      {HbaMethod::trust, Kind::scram, "trust"},
      {HbaMethod::md5, Kind::none, md5_none},
      {HbaMethod::md5, Kind::plain, "md5"},
      {HbaMethod::md5, Kind::md5, "md5"},
      {HbaMethod::md5, Kind::aes,
       "refused: md5 authentication failed: stored password of \"alice\" could not be decrypted"},
      {HbaMethod::md5, Kind::scram, "scram"},
      {HbaMethod::scram_sha_256, Kind::none, scram_none},
      {HbaMethod::scram_sha_256, Kind::plain, "scram"},
      {HbaMethod::scram_sha_256, Kind::md5,
       "refused: SCRAM authentication failed: stored password of \"alice\" is an md5 hash, which is usable for md5 "
       "only"},
      {HbaMethod::scram_sha_256, Kind::aes,
       "refused: SCRAM authentication failed: stored password of \"alice\" could not be decrypted"},
      {HbaMethod::scram_sha_256, Kind::scram, "scram"},
      {HbaMethod::password, Kind::none, "password by server"},
      {HbaMethod::password, Kind::plain, "password by us"},
      {HbaMethod::password, Kind::md5, "password by us"},
      {HbaMethod::password, Kind::aes,
       "refused: clear text authentication failed: stored password of \"alice\" could not be decrypted"},
      {HbaMethod::password, Kind::scram, "password by us"},
      {HbaMethod::cert, Kind::plain,
       "refused: client authentication failed: authentication method \"cert\" is not supported"},
      {HbaMethod::pam, Kind::plain,
       "refused: client authentication failed: authentication method \"pam\" is not supported"},
      {HbaMethod::ldap, Kind::plain,
       "refused: client authentication failed: authentication method \"ldap\" is not supported"},
  };
  for (const auto& [method, stored, expected] : rows) {
    for (const bool clear_text : {false, true}) {  // only without pool_hba does this setting mean anything
      PolicyInput in = with_rule(method, stored);
      in.allow_clear_text_frontend_auth = clear_text;
      EXPECT_EQ(in_words(decide(in)), expected) << hba_method_name(method);
    }
  }
}

TEST(Policy, WithoutRulesTheMethodOfTheServerDecides) {
  const std::string unfit_md5 =
      "refused: SCRAM authentication failed: stored password of \"alice\" is an md5 hash, which is usable for md5 only";
  const std::string unfit_scram =
      "refused: md5 authentication failed: stored password of \"alice\" is a SCRAM verifier, which is not usable for "
      "md5 "
      "servers";
  struct Row {
    ServerMethod server;
    Kind stored;
    std::string clear_text_off, clear_text_on;
  };
  const Row rows[] = {
      {ServerMethod::trust, Kind::none, "trust", "trust"},
      {ServerMethod::trust, Kind::plain, "trust", "trust"},
      {ServerMethod::password, Kind::none, "password by server", "password by server"},
      {ServerMethod::password, Kind::plain, "password by server", "password by server"},
      {ServerMethod::password, Kind::md5, "password by server", "password by server"},
      {ServerMethod::md5, Kind::none, no_entry("md5 authentication failed"), "password by server"},
      {ServerMethod::md5, Kind::plain, "md5", "md5"},
      {ServerMethod::md5, Kind::md5, "md5", "md5"},
      {ServerMethod::md5, Kind::scram, unfit_scram, "password by server"},
      {ServerMethod::scram_sha_256, Kind::none, no_entry("SCRAM authentication failed"), "password by server"},
      {ServerMethod::scram_sha_256, Kind::plain, "scram", "scram"},
      {ServerMethod::scram_sha_256, Kind::md5, unfit_md5, "password by server"},
      {ServerMethod::scram_sha_256, Kind::scram, "scram", "scram"},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(in_words(decide(without_rules(row.server, row.stored))), row.clear_text_off);
    EXPECT_EQ(in_words(decide(without_rules(row.server, row.stored, true))), row.clear_text_on);
  }
  PolicyInput unasked = input();
  EXPECT_EQ(in_words(decide(unasked)), "ask the server");
  unasked.server = ServerMethod::unsupported;
  EXPECT_EQ(
      in_words(decide(unasked)),
      "refused: client authentication failed: the servers ask for an authentication method that is not supported");
}

TEST(Policy, SaysInTheLogThatClearTextIsUsed) {
  const Decision decision = decide(without_rules(ServerMethod::md5, Kind::none, true));
  EXPECT_EQ(std::get<ClientChallenge>(decision).log_text, "using clear text authentication with frontend");
  EXPECT_EQ(std::get<ClientChallenge>(decide(without_rules(ServerMethod::md5, Kind::md5, true))).log_text, "");
}

TEST(Policy, WordsOfARefusedClient) {
  PolicyInput in = input();
  in.enable_pool_hba = true;
  const auto refusal = [&] { return std::get<Refusal>(decide(in)); };
  EXPECT_EQ(refusal().text, "client authentication failed");
  EXPECT_EQ(refusal().detail,
            "no pool_hba.conf entry for host \"10.0.0.7\", user \"alice\", database \"shop\", SSL off");
  EXPECT_EQ(refusal().hint, "see pgpool log for details");
  in.tls = true;
  EXPECT_EQ(refusal().detail,
            "no pool_hba.conf entry for host \"10.0.0.7\", user \"alice\", database \"shop\", SSL on");
  in.tls = std::nullopt;
  EXPECT_EQ(refusal().detail, "no pool_hba.conf entry for host \"10.0.0.7\", user \"alice\", database \"shop\"");
  in.rule = HbaMethod::reject;
  EXPECT_EQ(refusal().text, "client authentication failed");
  EXPECT_EQ(refusal().detail, "pool_hba.conf rejects host \"10.0.0.7\", user \"alice\", database \"shop\"");
}

TEST(Policy, AuthQueryFillsInForTheFile) {
  for (const auto& [found, expected] : {std::pair<Kind, std::string>{Kind::scram, "scram"}, {Kind::md5, "md5"}}) {
    PolicyInput in = with_rule(HbaMethod::md5, Kind::none);
    in.auth_query_used = true;
    in.auth_query = secret(found);
    const Decision decision = decide(in);
    EXPECT_EQ(in_words(decision), expected);
    EXPECT_EQ(std::get<ClientChallenge>(decision).secret.kind, found);
    in.pool_passwd = secret(Kind::plain);  // the file comes first
    EXPECT_EQ(std::get<ClientChallenge>(decide(in)).secret.kind, Kind::plain);
  }
}

TEST(Policy, WhomTheRulesRefuseNobodyIsAskedAbout) {
  using M = HbaMethod;
  for (const M method : {M::md5, M::scram_sha_256, M::password, M::trust})
    EXPECT_TRUE(secret_matters(with_rule(method, Kind::none)));
  PolicyInput in = with_rule(M::reject, Kind::none);
  EXPECT_FALSE(secret_matters(in));
  in.rule = std::nullopt;
  EXPECT_FALSE(secret_matters(in));
  in.enable_pool_hba = false;
  EXPECT_TRUE(secret_matters(in)) << "the server decides";
}

TEST(Policy, AuthQueryThatFindsNobodyLeadsToAMockRun) {
  for (const auto& [method, expected] :
       {std::pair<HbaMethod, std::string>{HbaMethod::md5, "mock md5"}, {HbaMethod::scram_sha_256, "mock scram"}}) {
    PolicyInput in = with_rule(method, Kind::none);
    in.auth_query_used = true;
    in.mock_secret = "process secret";
    EXPECT_EQ(in_words(decide(in)), expected);
  }
}

// --- CVE-2025-46801: three ways to a session without a password check in Pgpool-II before 4.6.1 ---

Bytes request(std::uint32_t code, ByteView body = {}) {
  Bytes out;
  append_u32(out, code);
  out += body;
  return out;
}
constexpr std::uint32_t kOk = 0, kClearText = 3, kMd5 = 5;

// Lets a client type a password at the decision's challenge.
ClientAuth typed(const Decision& decision, std::string_view password) {
  const auto& challenge = std::get<ClientChallenge>(decision);
  ClientAuth client(challenge, ClientSalts::draw(challenge.method));
  client.begin();
  client.on_message(std::string(password) + '\0');
  return client;
}

// (a) pool_hba method password, clear-text option off, no pool_passwd entry, server md5 or SCRAM.
TEST(LoginBypass, PasswordRuleWithoutEntryIsCheckedByTheServer) {
  const Decision decision = decide(with_rule(HbaMethod::password, Kind::none));
  ASSERT_EQ(in_words(decision), "password by server");
  const ClientAuth client = typed(decision, "guess");
  EXPECT_FALSE(client.credentials().admitted);
  // The server gets an answer made of what was typed, not of something stored …
  ServerAuth server("alice", "nonce", client.credentials());
  const Step step = server.on_auth_request(request(kMd5, "salt"));
  EXPECT_EQ(step.send, password_message(md5_answer(md5_entry("guess", "alice")->view(), "salt")->view()));
  EXPECT_FALSE(server.proved());
  // … and a server that trusts everybody proves nothing: the session must be refused.
  ServerAuth trusting("alice", "nonce", client.credentials());
  ASSERT_EQ(trusting.on_auth_request(request(kOk)).kind, Step::Kind::ok);
  EXPECT_FALSE(trusting.proved());
  EXPECT_EQ(refuse_unproved("alice").text, "clear text authentication failed");
  EXPECT_EQ(refuse_unproved("alice").detail, kNoEntry);
}

// (b) no pool_hba, server password, pam or ldap (they look alike from here).
TEST(LoginBypass, WithoutRulesTheServersPasswordMethodSeesWhatTheClientTyped) {
  for (const Kind stored : {Kind::none, Kind::plain, Kind::md5, Kind::scram}) {
    for (const bool clear_text : {false, true}) {
      const Decision decision = decide(without_rules(ServerMethod::password, stored, clear_text));
      ASSERT_EQ(in_words(decision), "password by server");
      const ClientAuth client = typed(decision, "guess");
      EXPECT_FALSE(client.credentials().admitted);
      ServerAuth server("alice", "nonce", client.credentials());
      EXPECT_EQ(server.on_auth_request(request(kClearText)).send, password_message("guess"));
    }
  }
}

// (c) raw mode, pool_hba method md5, plain or AES entry, server password, pam or ldap.
TEST(LoginBypass, Md5RuleIsCheckedByUsBeforeTheStoredPasswordGoesToTheServer) {
  PolicyInput in = with_rule(HbaMethod::md5, Kind::none);
  in.pool_passwd = *unlock(secret(Kind::aes), Secret(std::string("secretkey")));
  in.server = ServerMethod::password;
  const Decision decision = decide(in);
  ASSERT_EQ(in_words(decision), "md5");
  const ClientAuth wrong = typed(decision, "md50123456789abcdef0123456789abcdef");
  EXPECT_FALSE(wrong.credentials().admitted);
  EXPECT_EQ(wrong.credentials().kind, Credentials::Kind::none) << "the stored password must not get out";

  ClientSalts salts = ClientSalts::draw(ClientChallenge::Method::md5);
  ClientAuth right(std::get<ClientChallenge>(decision), salts);
  right.begin();
  const auto answer = md5_answer(md5_entry("pencil", "alice")->view(), salts.md5_salt);
  ASSERT_EQ(right.on_message(std::string(answer->view()) + '\0').kind, Step::Kind::ok);
  EXPECT_TRUE(right.credentials().admitted);
  ServerAuth server("alice", "nonce", right.credentials());
  EXPECT_EQ(server.on_auth_request(request(kClearText)).send, password_message("pencil"));
}

}  // namespace
}  // namespace herdgate::auth

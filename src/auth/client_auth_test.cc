#include "auth/client_auth.h"

#include <gtest/gtest.h>

#include "auth/auth_wire.h"
#include "auth/md5.h"

namespace herdgate::auth {
namespace {

using Kind = Step::Kind;
using Method = ClientChallenge::Method;
using Check = ClientChallenge::Check;

constexpr std::string_view kUser = "alice";
constexpr std::string_view kPassword = "pencil";
constexpr std::size_t kHeaderBytes = 5;   // type and length
constexpr std::size_t kRequestBytes = 9;  // … and the code of an 'R' message

StoredSecret plain() { return *parse_stored("TEXTpencil"); }
StoredSecret md5() { return *parse_stored(md5_entry(kPassword, kUser)->view()); }
ScramKeys keys(std::string_view password = kPassword) { return *derive_keys(password, "0123456789abcdef", 2); }
StoredSecret verifier() { return *parse_stored(print_verifier(keys())); }

ClientAuth auth(Method method, StoredSecret secret, Check check = Check::by_us) {
  return {{.method = method, .check = check, .user = std::string(kUser), .secret = std::move(secret)},
          {.md5_salt = "salt", .scram_nonce = "servernonce", .scram_salt = "fedcba9876543210"}};
}
std::string cstr(std::string_view text) { return std::string(text) + '\0'; }
std::uint32_t request_code(const Step& step) { return load_u32(step.send.data() + kHeaderBytes); }
std::string payload_of(const Bytes& message) { return message.substr(kHeaderBytes); }

void expect_refused(const Step& step, Errc code, std::string_view text, std::string_view detail) {
  ASSERT_EQ(step.kind, Kind::failed);
  ASSERT_TRUE(step.refusal);
  EXPECT_EQ(step.refusal->error.code, code) << step.refusal->error.text();
  EXPECT_EQ(step.refusal->text, text);
  EXPECT_EQ(step.refusal->detail, detail);
}

// Plays a client with this password through SCRAM; gives the last step.
Step play_scram(ClientAuth& machine, std::string_view password) {
  const Step offer = machine.begin();
  EXPECT_EQ(offer.send, auth_request(AuthRequest::sasl, std::string("SCRAM-SHA-256\0\0", 15)));
  ScramClient client("clientnonce");
  Step step = machine.on_message(payload_of(sasl_initial_response(kScramMechanism, *client.start())));
  if (step.kind == Kind::need_hash) {
    EXPECT_EQ(step.job->salt, "fedcba9876543210");
    step = machine.on_hashed(step.job->run());
  }
  EXPECT_EQ(step.kind, Kind::need_more);
  EXPECT_EQ(request_code(step), 11u);
  const auto challenge = client.challenge(std::string_view(step.send).substr(kRequestBytes));
  const auto answer = client.answer(*derive_keys(password, challenge->salt, challenge->iterations));
  step = machine.on_message(*answer);
  if (step.kind == Kind::ok) {
    EXPECT_EQ(request_code(step), 12u);
    EXPECT_TRUE(client.verify(std::string_view(step.send).substr(kRequestBytes)));
  }
  return step;
}

TEST(ClientAuth, TrustAsksNothingAndHandsOnWhatIsStored) {
  ClientAuth machine = auth(Method::trust, md5());
  const Step step = machine.begin();
  EXPECT_EQ(step.kind, Kind::ok);
  EXPECT_EQ(step.send, "");
  EXPECT_EQ(machine.credentials().kind, Credentials::Kind::md5);
  EXPECT_TRUE(machine.credentials().admitted);
  ClientAuth unknown = auth(Method::trust, {});
  EXPECT_EQ(unknown.begin().kind, Kind::ok);
  EXPECT_EQ(unknown.credentials().kind, Credentials::Kind::none);
}

TEST(ClientAuth, ComparesAClearPasswordWithEveryStoredForm) {
  for (const StoredSecret& secret : {plain(), md5(), verifier()}) {
    for (const bool right : {true, false}) {
      ClientAuth machine = auth(Method::password, secret);
      EXPECT_EQ(machine.begin().send, std::string("R\0\0\0\x08\0\0\0\x03", 9));
      Step step = machine.on_message(cstr(right ? "pencil" : "Pencil"));
      if (secret.kind == StoredSecret::Kind::scram) {
        ASSERT_EQ(step.kind, Kind::need_hash);
        step = machine.on_hashed(step.job->run());
      }
      if (!right) {
        expect_refused(step, Errc::wrong_password, "clear text authentication failed", "password does not match");
        EXPECT_EQ(step.refusal->sqlstate, "28P01");
        continue;
      }
      EXPECT_EQ(step.kind, Kind::ok);
      EXPECT_EQ(machine.credentials().kind, Credentials::Kind::plain);
      EXPECT_EQ(machine.credentials().secret.view(), kPassword);
      EXPECT_TRUE(machine.credentials().admitted);
    }
  }
}

TEST(ClientAuth, APasswordThatOnlyTheServerCanCheckAdmitsNobody) {
  ClientAuth machine = auth(Method::password, {}, Check::by_server);
  machine.begin();
  EXPECT_EQ(machine.on_message(cstr("whatever")).kind, Kind::ok);
  EXPECT_EQ(machine.credentials().secret.view(), "whatever");
  EXPECT_FALSE(machine.credentials().admitted);
}

// A mistake of the caller must not open the door: nothing stored and yet "we compare".
TEST(ClientAuth, NothingStoredIsNeverAMatch) {
  for (const std::string_view typed : {"whatever", " "}) {
    ClientAuth machine = auth(Method::password, {}, Check::by_us);
    machine.begin();
    EXPECT_EQ(machine.on_message(cstr(typed)).refusal->error.code, Errc::unfit_secret);
    EXPECT_FALSE(machine.credentials().admitted);
  }
  ClientAuth machine = auth(Method::md5, {});
  machine.begin();
  EXPECT_EQ(machine.on_message(cstr("md5")).refusal->error.code, Errc::unfit_secret);
}

TEST(ClientAuth, Md5FromAPasswordAndFromAnEntry) {
  for (const StoredSecret& secret : {plain(), md5()}) {
    ClientAuth machine = auth(Method::md5, secret);
    EXPECT_EQ(machine.begin().send, std::string("R\0\0\0\x0c\0\0\0\x05salt", 13));
    const auto answer = md5_answer(md5().value.view(), "salt");
    EXPECT_EQ(machine.on_message(cstr(answer->view())).kind, Kind::ok);
    EXPECT_TRUE(machine.credentials().admitted);
    EXPECT_EQ(machine.credentials().secret.view(), secret.value.view());

    ClientAuth refused = auth(Method::md5, secret);
    refused.begin();
    const auto stale = md5_answer(md5().value.view(), "tlas");
    expect_refused(refused.on_message(cstr(stale->view())), Errc::wrong_password, "md5 authentication failed",
                   "password does not match");
  }
}

// The stored hash itself is no password, and neither is the answer without its prefix.
TEST(ClientAuth, Md5IsNotSatisfiedByTheEntryItself) {
  ClientAuth machine = auth(Method::md5, md5());
  machine.begin();
  EXPECT_EQ(machine.on_message(cstr(md5().value.view())).kind, Kind::failed);
}

TEST(ClientAuth, ScramFromAPasswordGivesThePassword) {
  ClientAuth machine = auth(Method::scram, plain());
  EXPECT_EQ(play_scram(machine, kPassword).kind, Kind::ok);
  EXPECT_EQ(machine.credentials().kind, Credentials::Kind::plain);
  EXPECT_EQ(machine.credentials().secret.view(), kPassword);
  EXPECT_TRUE(machine.credentials().admitted);
}

TEST(ClientAuth, ScramFromAVerifierGivesTheClientKey) {
  ClientAuth machine = auth(Method::scram, verifier());
  EXPECT_EQ(play_scram(machine, kPassword).kind, Kind::ok);
  EXPECT_EQ(machine.credentials().kind, Credentials::Kind::scram);
  ASSERT_TRUE(machine.credentials().keys.client_key);
  EXPECT_TRUE(*machine.credentials().keys.client_key == *keys().client_key);
}

TEST(ClientAuth, ScramUsesKeysDerivedEarlierInsteadOfAHash) {
  ClientAuth machine({.method = Method::scram, .user = std::string(kUser), .secret = plain(), .keys = keys()},
                     {.md5_salt = "salt", .scram_nonce = "servernonce", .scram_salt = "fedcba9876543210"});
  machine.begin();
  ScramClient client("clientnonce");
  EXPECT_EQ(machine.on_message(payload_of(sasl_initial_response(kScramMechanism, *client.start()))).kind,
            Kind::need_more);
}

TEST(ClientAuth, ScramRefusesTheWrongPassword) {
  for (const StoredSecret& secret : {plain(), verifier()}) {
    ClientAuth machine = auth(Method::scram, secret);
    expect_refused(play_scram(machine, "pencils"), Errc::wrong_password, "SCRAM authentication failed",
                   "password does not match");
    EXPECT_FALSE(machine.credentials().admitted);
    EXPECT_FALSE(machine.credentials().keys.client_key);
  }
}

// From outside an unknown user looks like a known one with another password.
TEST(ClientAuth, AMockRunLooksLikeAWrongPassword) {
  const ClientSalts salts{.md5_salt = "salt", .scram_nonce = "servernonce", .scram_salt = "fedcba9876543210"};
  ClientAuth scram(
      {.method = Method::scram, .user = "nobody", .keys = mock_keys("secret", "nobody", 2), .known = false}, salts);
  expect_refused(play_scram(scram, kPassword), Errc::wrong_password, "SCRAM authentication failed",
                 "password does not match");
  ClientAuth md5({.method = Method::md5, .user = "nobody", .known = false}, salts);
  EXPECT_EQ(request_code(md5.begin()), 5u);
  expect_refused(md5.on_message(cstr("md50123456789abcdef0123456789abcdef")), Errc::wrong_password,
                 "md5 authentication failed", "password does not match");
}

TEST(ClientAuth, RefusesBrokenPasswordMessages) {
  const std::pair<std::string, Errc> cases[] = {
      {"", Errc::malformed_message},
      {"pencil", Errc::malformed_message},
      {std::string("pen\0cil\0", 8), Errc::malformed_message},
      {std::string("pencil\0\0", 8), Errc::malformed_message},
      {cstr(std::string(kMaxAuthPayloadBytes, 'x')), Errc::malformed_message},
      {cstr(""), Errc::wrong_password},
  };
  for (const auto& [payload, code] : cases) {
    ClientAuth machine = auth(Method::password, plain());
    machine.begin();
    const Step step = machine.on_message(payload);
    ASSERT_EQ(step.kind, Kind::failed);
    EXPECT_EQ(step.refusal->error.code, code);
    EXPECT_EQ(step.refusal->sqlstate, code == Errc::malformed_message ? "08P01" : "28P01");
    EXPECT_EQ(machine.on_message(cstr(kPassword)).refusal->error.code, Errc::wrong_order) << "no second try";
  }
}

TEST(ClientAuth, RefusesBrokenSaslMessages) {
  const std::string first = "n,,n=,r=abc";
  const auto length = [](std::uint32_t n) {
    Bytes out;
    append_u32(out, n);
    return out;
  };
  const std::pair<std::string, Errc> cases[] = {
      {"", Errc::malformed_message},
      {"SCRAM-SHA-256", Errc::malformed_message},
      {cstr("SCRAM-SHA-256"), Errc::malformed_message},
      {cstr("SCRAM-SHA-256") + length(0xFFFFFFFF), Errc::malformed_message},
      {cstr("SCRAM-SHA-256") + length(12) + first, Errc::malformed_message},
      {cstr("SCRAM-SHA-256") + length(10) + first, Errc::malformed_message},
      {cstr("SCRAM-SHA-256-PLUS") + length(11) + first, Errc::unsupported_mechanism},
      {cstr("PLAIN") + length(11) + first, Errc::unsupported_mechanism},
      {cstr("SCRAM-SHA-256") + length(2000) + std::string(2000, 'x'), Errc::malformed_message},
  };
  for (const auto& [payload, code] : cases) {
    ClientAuth machine = auth(Method::scram, verifier());
    machine.begin();
    const Step step = machine.on_message(payload);
    ASSERT_EQ(step.kind, Kind::failed);
    EXPECT_EQ(step.refusal->error.code, code);
    EXPECT_EQ(step.refusal->sqlstate, "08P01");
  }
}

TEST(ClientAuth, RefusesStepsOutOfOrder) {
  ClientAuth early = auth(Method::password, plain());
  EXPECT_EQ(early.on_message(cstr(kPassword)).refusal->error.code, Errc::wrong_order);
  ClientAuth during_hash = auth(Method::scram, plain());
  during_hash.begin();
  const Bytes first = payload_of(sasl_initial_response(kScramMechanism, "n,,n=,r=abc"));
  ASSERT_EQ(during_hash.on_message(first).kind, Kind::need_hash);
  EXPECT_EQ(during_hash.on_message(first).refusal->error.code, Errc::wrong_order);
  EXPECT_EQ(during_hash.on_hashed(keys()).refusal->error.code, Errc::wrong_order);
  ClientAuth after = auth(Method::password, plain());
  after.begin();
  ASSERT_EQ(after.on_message(cstr(kPassword)).kind, Kind::ok);
  EXPECT_EQ(after.on_message(cstr(kPassword)).kind, Kind::failed);
  EXPECT_FALSE(after.credentials().admitted) << "a client that talks on is not let in after all";
}

}  // namespace
}  // namespace herdgate::auth

#include "auth/server_auth.h"

#include <gtest/gtest.h>

#include "auth/auth_wire.h"
#include "auth/md5.h"

namespace herdgate::auth {
namespace {

using Kind = Step::Kind;

constexpr std::size_t kHeaderBytes = 5;
constexpr std::string_view kNonce = "proxynonce";

Bytes request(std::uint32_t code, ByteView body = {}) {
  Bytes out;
  append_u32(out, code);
  out += body;
  return out;
}
const Bytes kOk = request(0);
const Bytes kScramOffer = request(10, std::string_view("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", 34));

Credentials known(std::string_view stored) { return *credentials_from(*parse_stored(stored), "alice"); }
Credentials plain() { return known("TEXTpencil"); }
ScramKeys keys() { return *derive_keys("pencil", "0123456789abcdef", 2); }
Credentials md5() { return known(md5_entry("pencil", "alice")->view()); }
Credentials verifier() { return known(print_verifier(keys())); }
Credentials pass_through() {
  Credentials out = verifier();
  out.keys = keys();
  return out;
}
ServerAuth auth(Credentials credentials) { return {"alice", std::string(kNonce), std::move(credentials)}; }

void expect_refused(const Step& step, Errc code, std::string_view detail) {
  ASSERT_EQ(step.kind, Kind::failed);
  EXPECT_EQ(step.refusal->error.code, code);
  EXPECT_EQ(step.refusal->detail, detail);
  EXPECT_EQ(step.send, "");
}

TEST(ServerAuth, AServerThatTrustsHasProvedNothing) {
  ServerAuth machine = auth(plain());
  EXPECT_EQ(machine.on_auth_request(kOk).kind, Kind::ok);
  EXPECT_EQ(machine.method(), ServerMethod::trust);
  EXPECT_FALSE(machine.proved());
}

TEST(ServerAuth, SendsAClearPassword) {
  ServerAuth machine = auth(plain());
  EXPECT_EQ(machine.on_auth_request(request(3)).send, std::string("p\0\0\0\x0bpencil\0", 12));
  EXPECT_FALSE(machine.proved()) << "not before the server has said yes";
  EXPECT_EQ(machine.on_auth_request(kOk).kind, Kind::ok);
  EXPECT_EQ(machine.method(), ServerMethod::password);
  EXPECT_TRUE(machine.proved());
}

TEST(ServerAuth, AnswersMd5FromAPasswordAndFromAnEntry) {
  for (const Credentials& credentials : {plain(), md5()}) {
    ServerAuth machine = auth(credentials);
    const Step step = machine.on_auth_request(request(5, "salt"));
    EXPECT_EQ(step.send, password_message(md5_answer(md5().secret.view(), "salt")->view()));
    EXPECT_EQ(machine.on_auth_request(kOk).kind, Kind::ok);
    EXPECT_TRUE(machine.proved());
  }
}

// Plays a PostgreSQL server with the verifier of keys(); gives the step after its last message.
Step play_scram(ServerAuth& machine, bool tamper = false) {
  ScramServer server(keys(), "servernonce");
  Step step = machine.on_auth_request(kScramOffer);
  const auto initial = read_sasl_initial(std::string_view(step.send).substr(kHeaderBytes));
  EXPECT_EQ(initial->mechanism, kScramMechanism);
  step = machine.on_auth_request(request(11, *server.start(initial->data)));
  if (step.kind == Kind::need_hash) step = machine.on_hashed(step.job->run());
  auto last = server.finish(std::string_view(step.send).substr(kHeaderBytes));
  EXPECT_TRUE(last) << last.error().text();
  if (tamper) (*last)[5] = (*last)[5] == 'A' ? 'B' : 'A';
  step = machine.on_auth_request(request(12, *last));
  return step.kind == Kind::failed ? step : machine.on_auth_request(kOk);
}

TEST(ServerAuth, SpeaksScramFromAPasswordAndByPassThrough) {
  for (const Credentials& credentials : {plain(), pass_through()}) {
    ServerAuth machine = auth(credentials);
    EXPECT_EQ(play_scram(machine).kind, Kind::ok);
    EXPECT_EQ(machine.method(), ServerMethod::scram_sha_256);
    EXPECT_TRUE(machine.proved());
  }
}

TEST(ServerAuth, RefusesAServerThatDoesNotKnowTheVerifier) {
  ServerAuth machine = auth(plain());
  EXPECT_EQ(play_scram(machine, /*tamper=*/true).refusal->error.code, Errc::server_not_authentic);
  EXPECT_FALSE(machine.proved());
}

// An impostor may try to skip the part in which he has to prove himself.
TEST(ServerAuth, RefusesAuthenticationOkInTheMiddleOfScram) {
  ServerAuth at_first = auth(plain());
  at_first.on_auth_request(kScramOffer);
  EXPECT_EQ(at_first.on_auth_request(kOk).refusal->error.code, Errc::wrong_order);
  EXPECT_FALSE(at_first.proved());

  ServerAuth at_last = auth(pass_through());
  ScramServer server(keys(), "servernonce");
  const Step first = at_last.on_auth_request(kScramOffer);
  const auto initial = read_sasl_initial(std::string_view(first.send).substr(kHeaderBytes));
  at_last.on_auth_request(request(11, *server.start(initial->data)));
  EXPECT_EQ(at_last.on_auth_request(kOk).refusal->error.code, Errc::wrong_order);
  EXPECT_FALSE(at_last.proved());
}

TEST(ServerAuth, AsksForCredentialsWhenItHasNone) {
  const std::tuple<Bytes, ServerMethod> cases[] = {{request(3), ServerMethod::password},
                                                   {request(5, "salt"), ServerMethod::md5},
                                                   {kScramOffer, ServerMethod::scram_sha_256}};
  for (const auto& [first, method] : cases) {
    ServerAuth machine("alice", std::string(kNonce));
    EXPECT_EQ(machine.on_auth_request(first).kind, Kind::need_credentials);
    EXPECT_EQ(machine.method(), method);
    const Step step = machine.on_credentials(plain());
    EXPECT_EQ(step.kind, Kind::need_more);
    EXPECT_EQ(step.send[0], 'p');
    EXPECT_EQ(machine.on_credentials(plain()).refusal->error.code, Errc::wrong_order);
  }
}

TEST(ServerAuth, SaysWhichSecretDoesNotFit) {
  const std::tuple<Credentials, Bytes, std::string_view> cases[] = {
      {md5(), request(3), "the server asks for password, but only an md5 hash is known for user \"alice\""},
      {md5(), kScramOffer, "the server asks for scram-sha-256, but only an md5 hash is known for user \"alice\""},
      {verifier(), request(3), "the server asks for password, but only a SCRAM verifier is known for user \"alice\""},
      {pass_through(), request(5, "salt"),
       "the server asks for md5, but only a SCRAM verifier is known for user \"alice\""},
      {verifier(), kScramOffer,
       "the server asks for scram-sha-256, but only a SCRAM verifier, and no login of the client has revealed its key "
       "yet, is known for user \"alice\""},
  };
  for (const auto& [credentials, first, detail] : cases) {
    ServerAuth machine = auth(credentials);
    expect_refused(machine.on_auth_request(first), Errc::unfit_secret, detail);
  }
}

TEST(ServerAuth, SaysThatNothingIsKnown) {
  const std::tuple<Bytes, std::string_view> cases[] = {{request(3), "clear text authentication failed"},
                                                       {request(5, "salt"), "md5 authentication failed"},
                                                       {kScramOffer, "SCRAM authentication failed"}};
  for (const auto& [first, text] : cases) {
    ServerAuth machine = auth(Credentials());
    const Step step = machine.on_auth_request(first);
    expect_refused(step, Errc::no_entry, "pool_passwd file does not contain an entry for \"alice\"");
    EXPECT_EQ(step.refusal->text, text);
  }
}

TEST(ServerAuth, RefusesAVerifierThatIsNotTheServers) {
  Credentials other = pass_through();
  other.keys = *derive_keys("pencil", "another salt here", 2);
  ServerAuth machine = auth(other);
  ScramServer server(keys(), "servernonce");
  const Step first = machine.on_auth_request(kScramOffer);
  const auto initial = read_sasl_initial(std::string_view(first.send).substr(kHeaderBytes));
  EXPECT_EQ(machine.on_auth_request(request(11, *server.start(initial->data))).refusal->error.code,
            Errc::verifier_differs);
}

TEST(ServerAuth, RefusesHostileRequests) {
  const std::pair<Bytes, Errc> cases[] = {
      {"", Errc::malformed_message},
      {std::string("\0\0\0", 3), Errc::malformed_message},
      {request(5, "sal"), Errc::malformed_message},
      {request(5, "salty"), Errc::malformed_message},
      {request(10, "SCRAM-SHA-256"), Errc::malformed_message},
      {request(10, std::string_view("SCRAM-SHA-256\0", 14)), Errc::malformed_message},
      {request(10, std::string_view("SCRAM-SHA-256-PLUS\0\0", 20)), Errc::unsupported_method},
      {request(10, std::string_view("\0", 1)), Errc::unsupported_method},
      {request(7), Errc::unsupported_method},
      {request(2), Errc::unsupported_method},
      {request(11, "r=x"), Errc::unsupported_method},
      {request(0xFFFFFFFF), Errc::unsupported_method},
  };
  for (const auto& [payload, code] : cases) {
    ServerAuth machine = auth(plain());
    const Step step = machine.on_auth_request(payload);
    ASSERT_EQ(step.kind, Kind::failed);
    EXPECT_EQ(step.refusal->error.code, code) << step.refusal->error.text();
    EXPECT_EQ(machine.on_auth_request(kOk).kind, Kind::failed) << "a failed login stays failed";
    EXPECT_FALSE(machine.proved());
  }
}

// A second request for a password would be a way to get the clear text after an md5 answer.
TEST(ServerAuth, AnswersOneChallengeOnly) {
  ServerAuth machine = auth(plain());
  machine.on_auth_request(request(5, "salt"));
  const Step step = machine.on_auth_request(request(3));
  EXPECT_EQ(step.refusal->error.code, Errc::wrong_order);
  EXPECT_EQ(step.send, "");
}

TEST(SameSecret, ComparesUserKindAndSecret) {
  EXPECT_TRUE(same_secret(plain(), plain()));
  EXPECT_FALSE(same_secret(plain(), md5()));
  EXPECT_FALSE(same_secret(plain(), known("TEXTpencils")));
  EXPECT_TRUE(same_secret(verifier(), pass_through()));
  Credentials bob = plain();
  bob.user = "bob";
  EXPECT_FALSE(same_secret(plain(), bob));
}

}  // namespace
}  // namespace herdgate::auth

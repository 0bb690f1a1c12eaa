#include "auth/scram.h"

#include <gtest/gtest.h>

#include "auth/errc.h"

namespace herdgate::auth {
namespace {

// RFC 7677 section 3. The user name is part of what is signed there, so only the server role can run it word by word.
constexpr std::string_view kRfcClientFirst = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
constexpr std::string_view kRfcServerNonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
constexpr std::string_view kRfcServerFirst =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
constexpr std::string_view kRfcClientFinal =
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
constexpr std::string_view kRfcServerFinal = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

// What PostgreSQL 15 stored for: create role u_scram password 'pencil'.
constexpr std::string_view kPostgresqlVerifier =
    "SCRAM-SHA-256$4096:N5CUuHflqf9YnZECtVADlw==$DZXqp/HB8BCO2Ahg/WDTNm+wr6UlKg8oZ6LVdB/MEnQ=:"
    "8ILcE+YCO88Z2xdDB0CpCKsGJRvTDrYFsPdQwtPwnOg=";

ScramKeys rfc_keys() { return *derive_keys("pencil", *base64_decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096); }
ScramServer rfc_server() { return {rfc_keys(), std::string(kRfcServerNonce)}; }
// Few rounds: these tests are about the messages.
ScramKeys quick_keys(std::string_view password = "pencil") { return *derive_keys(password, "0123456789abcdef", 2); }

TEST(ScramServer, SpeaksTheExchangeOfRfc7677) {
  ScramServer server = rfc_server();
  EXPECT_EQ(server.start(kRfcClientFirst).value(), kRfcServerFirst);
  EXPECT_EQ(server.finish(kRfcClientFinal).value(), kRfcServerFinal);
  EXPECT_TRUE(*server.keys().client_key == *rfc_keys().client_key);
}

// Passwords with their verifiers as PostgreSQL 15 wrote them into pg_authid; the later ones go through SASLprep.
TEST(DeriveKeys, GivesTheVerifiersOfPostgresql) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"pencil", kPostgresqlVerifier},
      {"p\xC3\xA4ssw\xC3\xB6rd \xC2\xB5\xC2\xB2\xC2\xBD",
       "SCRAM-SHA-256$4096:yFN42faYEJJOKQjAqUXnTw==$8P7/RLd2VTGByvqZ5wxnEC0si0i/d1fbE3Bdnn1W2Rw=:"
       "NS6jPZ25o1GHkg3Uo42iTwokztKG5jk882v9NrF7J/8="},
      {"a\xC2\xA0"
       "b\xC2\xAD"
       "c",
       "SCRAM-SHA-256$4096:IhtFiAZyNO9qLwEuXoPAmw==$UIKoyUd9tUuey7B3PGQ8wwzm7ZDxSfW/Zwm5qTD8AII=:"
       "XPPeTcUUDdiNcUK59BcUh4HJJw4AGSSVhQuaj9fzxk4="},
      {"\xCE\xBA\xCF\x89\xCE\xB4\xCE\xB9\xCE\xBA\xCF\x8C\xCF\x82",
       "SCRAM-SHA-256$4096:83868Y+fiPyLpZwxA3Layg==$xnX0o5Z+h/LPtuWroHRIpvtLoY192g5DsMxP7wrudiA=:"
       "qQnn8kr4/c74zu2fZYp0N6WZAfzpVAYPE7iE7GybvT0="},
      {"tab\there",
       "SCRAM-SHA-256$4096:SVZb8/eIALPdEdVYyp9Akg==$VId/RJ99Ux0gWPxvJp6gNhrRFTeVSFrTG9xyBtgLu2A=:"
       "4qi/sR1J2PVTJJWE1FC4QQwAboDDkgBChF8rec7kB9c="},
  };
  for (const auto& [password, text] : cases) {
    const auto verifier = parse_verifier(text);
    ASSERT_TRUE(verifier) << text;
    EXPECT_EQ(print_verifier(*verifier), text);
    EXPECT_EQ(print_verifier(*derive_keys(password, verifier->salt, verifier->iterations)), text) << password;
  }
}

TEST(ParseVerifier, RefusesABreakInEachField) {
  const std::string good(kPostgresqlVerifier);
  const auto with = [&](std::string_view from, std::string_view to) {
    std::string text = good;
    return text.replace(text.find(from), from.size(), to);
  };
  for (const std::string& text :
       {std::string(), std::string("SCRAM-SHA-256"), std::string("SCRAM-SHA-256$"), with("SCRAM", "SCRAN"),
        with("4096", "0"), with("4096", "-4096"), with("4096", "4k"), with("4096", ""), with("4096", "1000001"),
        with("4096", "99999999999999999999"), with("N5CU", "N5C"), with("N5CUuHflqf9YnZECtVADlw==", ""),
        with("DZXq", "DZX"), with("MEnQ=", "MEnQ"), with(":8ILc", "8ILc"), with("8ILc", "8IL"), good + "A", good + ":",
        good + "\n"}) {
    const auto got = parse_verifier(text);
    ASSERT_FALSE(got) << text;
    EXPECT_EQ(got.error().code, Errc::bad_verifier) << text;
  }
}

TEST(DeriveKeys, RefusesRoundsBeyondTheBound) {
  EXPECT_EQ(derive_keys("x", "salt", 0).error().code, Errc::iterations_out_of_range);
  EXPECT_EQ(derive_keys("x", "salt", kMaxScramIterations + 1).error().code, Errc::iterations_out_of_range);
  EXPECT_EQ(derive_keys("x", "", 1).error().code, Errc::malformed_message);
}

struct Exchange {
  std::string client_first, server_first, client_final, server_final;
};

// One whole login between our two roles; `pass` says which keys the client has.
Result<Exchange> run(const ScramKeys& server_keys, const ScramKeys& client_keys, ScramServer::Known known) {
  ScramServer server(server_keys, "serverside", known);
  ScramClient client("clientside");
  Exchange e;
  HG_TRY(e.client_first, client.start());
  HG_TRY(e.server_first, server.start(e.client_first));
  HG_TRY([[maybe_unused]] const auto challenge, client.challenge(e.server_first));
  HG_TRY(e.client_final, client.answer(client_keys));
  HG_TRY(e.server_final, server.finish(e.client_final));
  HG_CHECK(client.verify(e.server_final));
  return e;
}

TEST(Scram, BothRolesAgree) { EXPECT_TRUE(run(quick_keys(), quick_keys(), ScramServer::Known::yes)); }

TEST(Scram, TheWrongPasswordIsRefused) {
  EXPECT_EQ(run(quick_keys(), quick_keys("pencils"), ScramServer::Known::yes).error().code, Errc::wrong_password);
}

// The heart of pass-through: what the proof reveals is enough for the other servers, the verifier alone is not.
TEST(Scram, TheRecoveredClientKeyLogsInToAnotherServer) {
  ScramKeys verifier = quick_keys();
  verifier.client_key.reset();
  ScramServer proxy(verifier, "proxy");
  ScramClient client("client");
  ASSERT_TRUE(client.challenge(*proxy.start(*client.start())));
  ASSERT_TRUE(proxy.finish(*client.answer(quick_keys())));
  EXPECT_TRUE(run(verifier, proxy.keys(), ScramServer::Known::yes));
  EXPECT_EQ(run(verifier, verifier, ScramServer::Known::yes).error().code, Errc::unfit_secret);
}

TEST(Scram, AMockRunFailsEvenForTheRightKeys) {
  EXPECT_EQ(run(quick_keys(), quick_keys(), ScramServer::Known::no).error().code, Errc::wrong_password);
}

TEST(Scram, MockKeysAreStableForAUserAndDifferBetweenUsers) {
  const ScramKeys a = mock_keys("secret", "alice");
  EXPECT_EQ(a.salt, mock_keys("secret", "alice").salt);
  EXPECT_NE(a.salt, mock_keys("secret", "bob").salt);
  EXPECT_NE(a.salt, mock_keys("another", "alice").salt);
  EXPECT_EQ(a.salt.size(), kScramSaltBytes);
  EXPECT_EQ(a.iterations, kDefaultScramIterations);
}

TEST(ScramServer, AcceptsAClientThatCouldBindChannels) {
  ScramServer server(quick_keys(), "server");
  ASSERT_TRUE(server.start("y,,n=,r=client"));
  // The header comes back in client-final; "y,," there must not be replaced by "n,,".
  const std::string proof = base64_encode(std::string(32, 'x'));
  EXPECT_EQ(server.finish("c=eSws,r=clientserver,p=" + proof).error().code, Errc::wrong_password);
  ScramServer other(quick_keys(), "server");
  ASSERT_TRUE(other.start("y,,n=,r=client"));
  EXPECT_EQ(other.finish("c=biws,r=clientserver,p=" + proof).error().code, Errc::malformed_message);
}

TEST(ScramServer, RefusesABreakInEachFieldOfClientFirst) {
  const std::pair<std::string, Errc> cases[] = {
      {"", Errc::malformed_message},
      {"n", Errc::malformed_message},
      {"x,,n=,r=abc", Errc::malformed_message},
      {"p=tls-unique,,n=,r=abc", Errc::unsupported_mechanism},
      {"n,a=root,n=,r=abc", Errc::unsupported_mechanism},
      {"n,,m=ext,n=,r=abc", Errc::unsupported_mechanism},
      {"n,n=,r=abc", Errc::malformed_message},
      {"n,,r=abc", Errc::malformed_message},
      {"n,,n=", Errc::malformed_message},
      {"n,,n=,r=", Errc::malformed_message},
      {"n,,n=,r=a c", Errc::malformed_message},
      {"n,,n=,r=a\x7f", Errc::malformed_message},
      {"n,,n=,r=abc,", Errc::malformed_message},
      {"n,,n=,r=abc,9=x", Errc::malformed_message},
      {std::string("n,,n=,r=abc\0", 12), Errc::malformed_message},
      {"n,,n=,r=" + std::string(kMaxScramMessageBytes, 'a'), Errc::malformed_message},
  };
  for (const auto& [text, code] : cases) {
    ScramServer server(quick_keys(), "server");
    const auto got = server.start(text);
    ASSERT_FALSE(got) << text;
    EXPECT_EQ(got.error().code, code) << text;
    EXPECT_EQ(server.start("n,,n=,r=abc").error().code, Errc::wrong_order) << "a failed exchange stays failed";
  }
}

TEST(ScramServer, RefusesEveryChangedCharacterOfClientFinal) {
  for (std::size_t at = 0; at < kRfcClientFinal.size(); ++at) {
    std::string changed(kRfcClientFinal);
    changed[at] = changed[at] == 'A' ? 'B' : 'A';
    ScramServer server = rfc_server();
    ASSERT_TRUE(server.start(kRfcClientFirst));
    EXPECT_FALSE(server.finish(changed)) << changed;
  }
  for (std::size_t cut = 0; cut < kRfcClientFinal.size(); ++cut) {
    ScramServer server = rfc_server();
    ASSERT_TRUE(server.start(kRfcClientFirst));
    EXPECT_FALSE(server.finish(kRfcClientFinal.substr(0, cut))) << cut;
  }
}

TEST(ScramServer, RefusesMessagesOutOfOrder) {
  ScramServer server = rfc_server();
  EXPECT_EQ(server.finish(kRfcClientFinal).error().code, Errc::wrong_order);
  ScramServer replay = rfc_server();
  ASSERT_TRUE(replay.start(kRfcClientFirst));
  ASSERT_TRUE(replay.finish(kRfcClientFinal));
  EXPECT_EQ(replay.finish(kRfcClientFinal).error().code, Errc::wrong_order);
}

TEST(ScramClient, RefusesABreakInEachFieldOfServerFirst) {
  const std::pair<std::string, Errc> cases[] = {
      {"", Errc::malformed_message},
      {"r=client,s=c2FsdA==,i=1", Errc::malformed_message},     // nothing of the server's own
      {"r=clienX123,s=c2FsdA==,i=1", Errc::malformed_message},  // not ours
      {"r=client 123,s=c2FsdA==,i=1", Errc::malformed_message},
      {"r=client123,i=1", Errc::malformed_message},
      {"r=client123,s=,i=1", Errc::malformed_message},
      {"r=client123,s=c2FsdA=,i=1", Errc::malformed_message},
      {"r=client123,s=c2FsdA==", Errc::malformed_message},
      {"r=client123,s=c2FsdA==,i=", Errc::malformed_message},
      {"r=client123,s=c2FsdA==,i=+1", Errc::malformed_message},
      {"r=client123,s=c2FsdA==,i=0", Errc::iterations_out_of_range},
      {"r=client123,s=c2FsdA==,i=1000001", Errc::iterations_out_of_range},
      {"r=client123,s=c2FsdA==,i=99999999999", Errc::iterations_out_of_range},
      {"m=x,r=client123,s=c2FsdA==,i=1", Errc::unsupported_mechanism},
      {"r=client123,s=c2FsdA==,i=1,", Errc::malformed_message},
      {"r=client123,s=" + base64_encode(std::string(kMaxScramSaltBytes + 1, 's')) + ",i=1", Errc::malformed_message},
  };
  for (const auto& [text, code] : cases) {
    ScramClient client("client");
    ASSERT_TRUE(client.start());
    const auto got = client.challenge(text);
    ASSERT_FALSE(got) << text;
    EXPECT_EQ(got.error().code, code) << text;
    EXPECT_EQ(client.challenge("r=client123,s=c2FsdA==,i=1").error().code, Errc::wrong_order);
  }
}

// Pass-through with a verifier that is not the server's: say so instead of sending a proof that cannot fit.
TEST(ScramClient, RefusesKeysOfAnotherSaltOrOtherRounds) {
  for (const std::string_view text : {"r=client123,s=c2FsdA==,i=2", "r=client123,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=3"}) {
    ScramClient client("client");
    ASSERT_TRUE(client.start());
    ASSERT_TRUE(client.challenge(text));
    EXPECT_EQ(client.answer(quick_keys()).error().code, Errc::verifier_differs);
  }
}

TEST(ScramClient, RefusesAServerThatDoesNotKnowTheVerifier) {
  const std::pair<std::string, Errc> cases[] = {
      {"v=" + base64_encode(std::string(32, 'x')), Errc::server_not_authentic},
      {"v=", Errc::malformed_message},
      {"", Errc::malformed_message},
      {"e=other-error", Errc::wrong_password},
  };
  for (const auto& [text, code] : cases) {
    ScramClient client("client");
    ASSERT_TRUE(client.start());
    ASSERT_TRUE(client.challenge("r=client123,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=2"));
    ASSERT_TRUE(client.answer(quick_keys()));
    EXPECT_EQ(client.verify(text).error().code, code) << text;
  }
}

TEST(ScramClient, RefusesStepsOutOfOrder) {
  ScramClient early("client");
  EXPECT_EQ(early.verify("v=x").error().code, Errc::wrong_order);
  ScramClient twice("client");
  ASSERT_TRUE(twice.start());
  EXPECT_EQ(twice.answer(quick_keys()).error().code, Errc::wrong_order);
}

TEST(ScramNonce, IsLegalAndDoesNotRepeat) {
  const std::string nonce = random_scram_nonce();
  EXPECT_EQ(nonce.size(), 24u);
  EXPECT_NE(nonce, random_scram_nonce());
  EXPECT_EQ(nonce.find_first_of(",=\0"), std::string::npos);
}

}  // namespace
}  // namespace herdgate::auth

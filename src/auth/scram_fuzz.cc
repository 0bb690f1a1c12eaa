// Both roles of SCRAM and both login machines against foreign bytes. What must hold: no crash, no hang, and nobody is
// let in, because the input does not know the random parts.
#include <cstdint>
#include <cstdlib>

#include "auth/client_auth.h"
#include "auth/policy.h"
#include "auth/server_auth.h"
#include "base/assert.h"

namespace herdgate::auth {
namespace {

ScramKeys keys() { return *derive_keys("pencil", "0123456789abcdef", 1); }

// The octet 0xff cuts the input into messages.
std::vector<ByteView> cut(ByteView input) {
  std::vector<ByteView> out;
  while (out.size() < 8) {
    const std::size_t at = input.find('\xff');
    out.push_back(input.substr(0, at));
    if (at == ByteView::npos) break;
    input.remove_prefix(at + 1);
  }
  return out;
}

void against_server_role(const std::vector<ByteView>& messages) {
  ScramServer server(keys(), random_scram_nonce());
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (i == 0) static_cast<void>(server.start(messages[i]));
    if (i != 0) HG_ASSERT(!server.finish(messages[i]));
  }
}

void against_client_role(const std::vector<ByteView>& messages) {
  ScramClient client("clientnonce");
  static_cast<void>(client.start());
  const auto challenge = client.challenge(messages[0]);
  if (challenge) {
    HG_ASSERT(challenge->iterations >= 1 && challenge->iterations <= kMaxScramIterations);
    ScramKeys known = keys();
    known.salt = challenge->salt;
    known.iterations = challenge->iterations;
    HG_ASSERT(client.answer(known).has_value());
  }
  if (messages.size() > 1) HG_ASSERT(!client.verify(messages[1]));
}

void against_client_auth(const std::vector<ByteView>& messages, ClientChallenge::Method method) {
  const StoredSecret secret{StoredSecret::Kind::plain, Secret(random_scram_nonce())};
  ClientAuth machine({.method = method, .user = "alice", .secret = secret}, ClientSalts::draw(method));
  machine.begin();
  for (const ByteView message : messages) {
    Step step = machine.on_message(message);
    if (step.kind == Step::Kind::need_hash) step = machine.on_hashed(keys());
    HG_ASSERT(step.kind != Step::Kind::ok);
  }
  HG_ASSERT(!machine.credentials().admitted);
}

void against_server_auth(const std::vector<ByteView>& messages) {
  Credentials credentials{.kind = Credentials::Kind::plain, .user = "alice", .secret = Secret(random_scram_nonce())};
  ServerAuth machine("alice", "proxynonce", credentials);
  for (const ByteView message : messages) {
    Step step = machine.on_auth_request(message);
    if (step.kind == Step::Kind::need_hash) step = machine.on_hashed(fail(Errc::iterations_out_of_range));
  }
  if (machine.method() == ServerMethod::scram_sha_256) HG_ASSERT(!machine.proved());
}

}  // namespace
}  // namespace herdgate::auth

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace herdgate::auth;
  const herdgate::ByteView input(reinterpret_cast<const char*>(data), size);
  const auto messages = cut(input);
  against_server_role(messages);
  against_client_role(messages);
  against_client_auth(messages, ClientChallenge::Method::scram);
  against_client_auth(messages, ClientChallenge::Method::md5);
  against_client_auth(messages, ClientChallenge::Method::password);
  against_server_auth(messages);
  if (const auto verifier = parse_verifier(input)) HG_ASSERT(parse_verifier(print_verifier(*verifier)).has_value());
  if (const auto stored = parse_stored(input)) static_cast<void>(unlock(*stored, Secret(std::string("key"))));
  static_cast<void>(key_from_text(input));
  return 0;
}

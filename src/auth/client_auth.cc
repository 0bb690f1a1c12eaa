#include "auth/client_auth.h"

#include "auth/auth_wire.h"
#include "auth/md5.h"

namespace herdgate::auth {
namespace {

using Method = ClientChallenge::Method;
using Kind = StoredSecret::Kind;

constexpr std::string_view kNoMatch = "password does not match";

bool is_protocol_error(const Error& error) {
  return error == Errc::malformed_message || error == Errc::wrong_order || error == Errc::unsupported_mechanism;
}

// The md5 entry to compare with: the stored one, or one made of the stored password.
Result<Secret> stored_md5_entry(const ClientChallenge& challenge) {
  switch (challenge.secret.kind) {
    case Kind::plain:
      return md5_entry(challenge.secret.value.view(), challenge.user);
    case Kind::md5:
      return challenge.secret.value;
    default:
      return fail(Errc::unfit_secret, "md5 needs a password or an md5 hash");
  }
}

}  // namespace

std::string_view failure_text(Method method) {
  switch (method) {
    case Method::md5:
      return "md5 authentication failed";
    case Method::scram:
      return "SCRAM authentication failed";
    case Method::password:
      return "clear text authentication failed";
    case Method::trust:
      break;
  }
  return "client authentication failed";
}

ClientSalts ClientSalts::draw(Method method) {
  if (method == Method::md5) return {.md5_salt = random_bytes(kMd5SaltBytes)};
  if (method == Method::scram)
    return {.scram_nonce = random_scram_nonce(), .scram_salt = random_bytes(kScramSaltBytes)};
  return {};
}

Result<Done> trusted_credentials(const ClientChallenge& challenge, Credentials& into) {
  if (challenge.secret.known()) {
    HG_TRY(into, credentials_from(challenge.secret, challenge.user));
  } else {
    into.user = challenge.user;
  }
  into.admitted = true;
  return Done{};
}

ClientAuth::ClientAuth(ClientChallenge challenge, ClientSalts salts)
    : challenge_(std::move(challenge)), salts_(std::move(salts)) {}

Step ClientAuth::begin() {
  if (state_ != State::begin) return fail_login({Errc::wrong_order, "login began twice"});
  switch (challenge_.method) {
    case Method::trust: {
      Credentials credentials;
      if (auto taken = trusted_credentials(challenge_, credentials); !taken) return fail_login(taken.error());
      return succeed(std::move(credentials));
    }
    case Method::password:
      return wait(State::password, auth_request(AuthRequest::cleartext));
    case Method::md5:
      return wait(State::md5, auth_request(AuthRequest::md5, salts_.md5_salt));
    case Method::scram:
      return wait(State::sasl_first, sasl_request());
  }
  return fail_login({Errc::unsupported_method, {}});
}

Step ClientAuth::on_message(ByteView payload) {
  switch (state_) {
    case State::password:
      return on_password(payload);
    case State::md5:
      return on_md5(payload);
    case State::sasl_first:
      return on_sasl_first(payload);
    case State::sasl_final:
      return on_sasl_final(payload);
    default:
      return fail_login({Errc::wrong_order, "unexpected password message"});
  }
}

Step ClientAuth::on_password(ByteView payload) {
  const auto typed = read_password(payload);
  if (!typed) return fail_login(typed.error());
  if (typed->empty()) return fail_login({Errc::wrong_password, "empty password returned by client"});
  return check_password(Secret(std::string(*typed)));
}

Step ClientAuth::check_password(Secret typed) {
  const StoredSecret& known = challenge_.secret;
  typed_ = std::move(typed);
  Credentials credentials{.kind = Credentials::Kind::plain, .user = challenge_.user, .secret = typed_};
  if (challenge_.check == ClientChallenge::Check::by_server) return succeed(std::move(credentials));
  if (known.kind == Kind::scram) {
    auto keys = parse_verifier(known.value.view());
    if (!keys) return fail_login(std::move(keys.error()));
    Step step = wait(State::password_hash, {});
    step.kind = Step::Kind::need_hash;
    step.job = HashJob{typed_, keys->salt, keys->iterations};
    return step;
  }
  Result<bool> fits = fail(Errc::unfit_secret, "no stored password to compare with");
  if (known.kind == Kind::plain) fits = known.value == typed_;
  if (known.kind == Kind::md5) fits = md5_entry_fits(known.value.view(), typed_.view(), challenge_.user);
  if (!fits) return fail_login(std::move(fits.error()));
  if (!*fits) return fail_login({Errc::wrong_password, {}});
  credentials.admitted = true;
  return succeed(std::move(credentials));
}

Step ClientAuth::on_md5(ByteView payload) {
  const auto answer = read_password(payload);
  if (!answer) return fail_login(answer.error());
  if (!challenge_.known) return fail_login({Errc::wrong_password, {}});
  const auto entry = stored_md5_entry(challenge_);
  if (!entry) return fail_login(entry.error());
  const auto expected = md5_answer(entry->view(), salts_.md5_salt);
  if (!expected) return fail_login(expected.error());
  if (!equal_in_constant_time(expected->view(), *answer)) return fail_login({Errc::wrong_password, {}});
  auto credentials = credentials_from(challenge_.secret, challenge_.user);
  if (!credentials) return fail_login(std::move(credentials.error()));
  credentials->admitted = true;
  return succeed(std::move(*credentials));
}

Step ClientAuth::on_sasl_first(ByteView payload) {
  const auto initial = read_sasl_initial(payload);
  if (!initial) return fail_login(initial.error());
  if (initial->mechanism != kScramMechanism) {
    return fail_login({Errc::unsupported_mechanism, "client selected an invalid SASL authentication mechanism"});
  }
  if (initial->data.size() > kMaxScramMessageBytes) {
    return fail_login({Errc::malformed_message, "SCRAM message is too long"});
  }
  client_first_ = initial->data;
  if (challenge_.keys) return run_scram(*challenge_.keys);
  if (challenge_.secret.kind == Kind::scram) {
    auto keys = parse_verifier(challenge_.secret.value.view());
    if (!keys) return fail_login(std::move(keys.error()));
    return run_scram(std::move(*keys));
  }
  if (challenge_.secret.kind != Kind::plain) {
    return fail_login({Errc::unfit_secret, "SCRAM needs a password or a SCRAM-SHA-256 verifier"});
  }
  Step step = wait(State::sasl_hash, {});
  step.kind = Step::Kind::need_hash;
  step.job = HashJob{challenge_.secret.value, salts_.scram_salt, kDefaultScramIterations};
  return step;
}

Step ClientAuth::run_scram(ScramKeys keys) {
  const auto known = challenge_.known ? ScramServer::Known::yes : ScramServer::Known::no;
  scram_.emplace(std::move(keys), salts_.scram_nonce, known);
  const auto server_first = scram_->start(client_first_);
  if (!server_first) return fail_login(server_first.error());
  return wait(State::sasl_final, auth_request(AuthRequest::sasl_continue, *server_first));
}

Step ClientAuth::on_hashed(Result<ScramKeys> keys) {
  if (state_ != State::sasl_hash && state_ != State::password_hash) {
    return fail_login({Errc::wrong_order, "keys that nobody asked for"});
  }
  if (!keys) return fail_login(std::move(keys.error()));
  if (state_ == State::sasl_hash) return run_scram(std::move(*keys));
  const auto verifier = parse_verifier(challenge_.secret.value.view());
  if (!verifier) return fail_login(verifier.error());
  if (!(keys->stored_key == verifier->stored_key)) return fail_login({Errc::wrong_password, {}});
  return succeed({.kind = Credentials::Kind::plain, .user = challenge_.user, .secret = typed_, .admitted = true});
}

Step ClientAuth::on_sasl_final(ByteView payload) {
  const auto server_final = scram_->finish(payload);
  if (!server_final) return fail_login(server_final.error());
  Credentials credentials{.kind = Credentials::Kind::scram, .user = challenge_.user, .admitted = true};
  if (challenge_.secret.kind == Kind::plain) {
    credentials.kind = Credentials::Kind::plain;
    credentials.secret = challenge_.secret.value;
  } else {
    credentials.keys = scram_->keys();
  }
  return succeed(std::move(credentials), auth_request(AuthRequest::sasl_final, *server_final));
}

Step ClientAuth::wait(State next, Bytes send) {
  state_ = next;
  return {.kind = Step::Kind::need_more, .send = std::move(send)};
}

Step ClientAuth::succeed(Credentials credentials, Bytes send) {
  state_ = State::done;
  credentials_ = std::move(credentials);
  typed_ = Secret();
  return {.kind = Step::Kind::ok, .send = std::move(send)};
}

Step ClientAuth::fail_login(Error error) {
  state_ = State::done;
  credentials_ = Credentials();
  typed_ = Secret();
  Refusal refusal{.text = std::string(failure_text(challenge_.method))};
  refusal.detail = error == Errc::wrong_password && error.context.empty() ? std::string(kNoMatch) : error.text();
  if (is_protocol_error(error)) refusal.sqlstate = sqlstate::kProtocolViolation;
  refusal.error = std::move(error);
  return {.kind = Step::Kind::failed, .refusal = std::move(refusal)};
}

}  // namespace herdgate::auth

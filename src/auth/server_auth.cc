#include "auth/server_auth.h"

#include <fmt/format.h>

#include "auth/auth_wire.h"
#include "auth/client_auth.h"
#include "auth/md5.h"

namespace herdgate::auth {
namespace {

using Kind = Credentials::Kind;

constexpr std::uint32_t code_of(AuthRequest request) { return static_cast<std::uint32_t>(request); }

std::string_view failure_text(std::optional<ServerMethod> method) {
  if (method == ServerMethod::password) return auth::failure_text(ClientChallenge::Method::password);
  if (method == ServerMethod::md5) return auth::failure_text(ClientChallenge::Method::md5);
  if (method == ServerMethod::scram_sha_256) return auth::failure_text(ClientChallenge::Method::scram);
  return "could not log in to the server";
}

}  // namespace

ServerAuth::ServerAuth(std::string user, std::string scram_nonce)
    : user_(std::move(user)), scram_(std::move(scram_nonce)) {}

ServerAuth::ServerAuth(std::string user, std::string scram_nonce, Credentials credentials)
    : user_(std::move(user)), credentials_(std::move(credentials)), scram_(std::move(scram_nonce)) {}

Step ServerAuth::on_auth_request(ByteView payload) {
  const auto request = read_auth_request(payload);
  if (!request) return fail_login(request.error());
  const auto [code, body] = *request;
  switch (state_) {
    case State::start:
      return on_start(code, body);
    case State::sent:
    case State::sasl_ok:
      if (code == code_of(AuthRequest::ok)) return succeed();
      break;
    case State::sasl_challenge:
      if (code == code_of(AuthRequest::sasl_continue)) return on_sasl_challenge(body);
      break;
    case State::sasl_final:
      if (code == code_of(AuthRequest::sasl_final)) {
        if (auto verified = scram_.verify(body); !verified) return fail_login(std::move(verified.error()));
        return wait(State::sasl_ok, {});
      }
      break;
    default:
      break;
  }
  // Above all: AuthenticationOk in the middle of SCRAM, from somebody who does not know the verifier.
  return fail_login({Errc::wrong_order, fmt::format("the server sent authentication request {} in between", code)});
}

Step ServerAuth::on_start(std::uint32_t code, ByteView body) {
  switch (static_cast<AuthRequest>(code)) {
    case AuthRequest::ok:
      method_ = ServerMethod::trust;
      return succeed();
    case AuthRequest::cleartext:
      method_ = ServerMethod::password;
      break;
    case AuthRequest::md5:
      if (body.size() != kMd5SaltBytes) return fail_login({Errc::malformed_message, "md5 salt of wrong length"});
      method_ = ServerMethod::md5;
      md5_salt_ = body;
      break;
    case AuthRequest::sasl: {
      const auto scram = offers_scram(body);
      if (!scram) return fail_login(scram.error());
      method_ = *scram ? ServerMethod::scram_sha_256 : ServerMethod::unsupported;
      break;
    }
    default:
      method_ = ServerMethod::unsupported;
      break;
  }
  if (method_ == ServerMethod::unsupported) {
    return fail_login({Errc::unsupported_method, fmt::format("the server sent authentication request {}", code)});
  }
  if (!credentials_) {
    state_ = State::credentials;
    return {.kind = Step::Kind::need_credentials};
  }
  return answer();
}

Step ServerAuth::on_credentials(Credentials credentials) {
  if (state_ != State::credentials) return fail_login({Errc::wrong_order, "credentials that nobody asked for"});
  credentials_ = std::move(credentials);
  return answer();
}

Step ServerAuth::answer() {
  if (credentials_->kind == Kind::none) {
    return fail_login({Errc::no_entry, fmt::format("pool_passwd file does not contain an entry for \"{}\"", user_)});
  }
  if (method_ == ServerMethod::password) return answer_password();
  if (method_ == ServerMethod::md5) return answer_md5();
  return answer_scram();
}

Step ServerAuth::answer_password() {
  if (credentials_->kind == Kind::plain) return wait(State::sent, password_message(credentials_->secret.view()));
  return fail_unfit(credentials_->kind == Kind::md5 ? "an md5 hash" : "a SCRAM verifier");
}

Step ServerAuth::answer_md5() {
  if (credentials_->kind == Kind::scram) return fail_unfit("a SCRAM verifier");
  Result<Secret> entry = credentials_->secret;
  if (credentials_->kind == Kind::plain) entry = md5_entry(credentials_->secret.view(), user_);
  if (!entry) return fail_login(std::move(entry.error()));
  const auto answer = md5_answer(entry->view(), md5_salt_);
  if (!answer) return fail_login(answer.error());
  return wait(State::sent, password_message(answer->view()));
}

Step ServerAuth::answer_scram() {
  if (credentials_->kind == Kind::md5) return fail_unfit("an md5 hash");
  if (credentials_->kind == Kind::scram && !credentials_->keys.client_key) {
    return fail_unfit("a SCRAM verifier, and no login of the client has revealed its key yet,");
  }
  const auto first = scram_.start();
  if (!first) return fail_login(first.error());
  return wait(State::sasl_challenge, sasl_initial_response(kScramMechanism, *first));
}

Step ServerAuth::on_sasl_challenge(ByteView body) {
  const auto challenge = scram_.challenge(body);
  if (!challenge) return fail_login(challenge.error());
  if (credentials_->kind == Kind::scram) return send_proof(credentials_->keys);
  Step step = wait(State::sasl_hash, {});
  step.kind = Step::Kind::need_hash;
  step.job = HashJob{credentials_->secret, challenge->salt, challenge->iterations};
  return step;
}

Step ServerAuth::on_hashed(Result<ScramKeys> keys) {
  if (state_ != State::sasl_hash) return fail_login({Errc::wrong_order, "keys that nobody asked for"});
  if (!keys) return fail_login(std::move(keys.error()));
  return send_proof(*keys);
}

Step ServerAuth::send_proof(const ScramKeys& keys) {
  const auto final_message = scram_.answer(keys);
  if (!final_message) return fail_login(final_message.error());
  return wait(State::sasl_final, sasl_response(*final_message));
}

Step ServerAuth::wait(State next, Bytes send) {
  state_ = next;
  return {.kind = Step::Kind::need_more, .send = std::move(send)};
}

Step ServerAuth::succeed() {
  state_ = State::done_ok;
  credentials_.reset();
  return {.kind = Step::Kind::ok};
}

Step ServerAuth::fail_unfit(std::string_view known) {
  return fail_login({Errc::unfit_secret, fmt::format("the server asks for {}, but only {} is known for user \"{}\"",
                                                     server_method_name(*method_), known, user_)});
}

Step ServerAuth::fail_login(Error error) {
  state_ = State::failed;
  credentials_.reset();
  Refusal refusal{.text = std::string(failure_text(method_)), .sqlstate = sqlstate::kInternalError};
  refusal.detail = error.context.empty() ? error.code.message() : error.context;
  refusal.error = std::move(error);
  return {.kind = Step::Kind::failed, .refusal = std::move(refusal)};
}

}  // namespace herdgate::auth

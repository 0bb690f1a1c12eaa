#include "auth/policy.h"

#include <fmt/format.h>

namespace herdgate::auth {
namespace {

using Method = ClientChallenge::Method;
using Check = ClientChallenge::Check;
using Kind = StoredSecret::Kind;

constexpr std::string_view kClientFailed = "client authentication failed";
constexpr std::string_view kSeeLog = "see pgpool log for details";
constexpr std::string_view kClearTextLog = "using clear text authentication with frontend";

std::string who(const PolicyInput& in) {
  const std::string_view tls = !in.tls ? "" : *in.tls ? ", SSL on" : ", SSL off";
  return fmt::format("host \"{}\", user \"{}\", database \"{}\"{}", in.host, in.user, in.database, tls);
}

Refusal refuse_client(Errc code, std::string detail) {
  return {.error = {code, detail},
          .text = std::string(kClientFailed),
          .detail = std::move(detail),
          .hint = std::string(kSeeLog),
          .sqlstate = sqlstate::kInvalidAuthorization};
}

Refusal refuse_method(Method method, Errc code, std::string detail) {
  return {.error = {code, detail}, .text = std::string(failure_text(method)), .detail = std::move(detail)};
}

Refusal refuse_no_entry(const PolicyInput& in, Method method) {
  return refuse_method(method, Errc::no_entry,
                       fmt::format("pool_passwd file does not contain an entry for \"{}\"", in.user));
}

Refusal refuse_unfit(const PolicyInput& in, Method method, Kind kind) {
  const std::string_view why = kind == Kind::aes   ? "could not be decrypted"
                               : kind == Kind::md5 ? "is an md5 hash, which is usable for md5 only"
                                                   : "is a SCRAM verifier, which is not usable for md5 servers";
  return refuse_method(method, Errc::unfit_secret, fmt::format("stored password of \"{}\" {}", in.user, why));
}

// The file first; what the query found otherwise.
const StoredSecret& known_secret(const PolicyInput& in) {
  return in.pool_passwd.known() || !in.auth_query_used ? in.pool_passwd : in.auth_query;
}

ClientChallenge challenge(const PolicyInput& in, Method method) {
  return {.method = method, .user = std::string(in.user), .secret = known_secret(in)};
}

// A user of whom neither file nor query knows anything. Where the users are in the servers, the client gets the same
// challenge as every user and fails at its end; where they are in the file, he is told so, as Pgpool-II does.
Decision refuse_unknown(const PolicyInput& in, Method method) {
  if (!in.auth_query_used || in.mock_secret.empty()) return refuse_no_entry(in, method);
  ClientChallenge mock{.method = method, .user = std::string(in.user), .known = false};
  if (method == Method::scram) mock.keys = mock_keys(in.mock_secret, in.user);
  return mock;
}

Decision ask_password(const PolicyInput& in, Check check) {
  ClientChallenge out = challenge(in, Method::password);
  out.check = check;
  return out;
}

Decision decide_md5_rule(const PolicyInput& in) {
  const Kind kind = known_secret(in).kind;
  if (kind == Kind::none) return refuse_unknown(in, Method::md5);
  if (kind == Kind::aes) return refuse_unfit(in, Method::md5, kind);
  // As PostgreSQL does: an md5 line lets a user with a SCRAM verifier prove himself by SCRAM.
  return challenge(in, kind == Kind::scram ? Method::scram : Method::md5);
}

Decision decide_scram_rule(const PolicyInput& in) {
  const Kind kind = known_secret(in).kind;
  if (kind == Kind::none) return refuse_unknown(in, Method::scram);
  if (kind == Kind::aes || kind == Kind::md5) return refuse_unfit(in, Method::scram, kind);
  return challenge(in, Method::scram);
}

Decision decide_password_rule(const PolicyInput& in) {
  const Kind kind = known_secret(in).kind;
  if (kind == Kind::aes) return refuse_unfit(in, Method::password, kind);
  return ask_password(in, kind == Kind::none ? Check::by_server : Check::by_us);
}

Decision decide_trust_rule(const PolicyInput& in) {
  ClientChallenge out = challenge(in, Method::trust);
  if (out.secret.kind == Kind::aes) out.secret = {};  // the server may trust too; if not, it says what it misses
  return out;
}

Decision decide_by_rule(const PolicyInput& in) {
  if (!in.rule) return refuse_client(Errc::rejected, "no pool_hba.conf entry for " + who(in));
  switch (*in.rule) {
    case HbaMethod::trust:
      return decide_trust_rule(in);
    case HbaMethod::reject:
      return refuse_client(Errc::rejected, "pool_hba.conf rejects " + who(in));
    case HbaMethod::md5:
      return decide_md5_rule(in);
    case HbaMethod::scram_sha_256:
      return decide_scram_rule(in);
    case HbaMethod::password:
      return decide_password_rule(in);
    case HbaMethod::cert:
    case HbaMethod::pam:
    case HbaMethod::ldap:
      break;
  }
  return refuse_client(Errc::unsupported_method,
                       fmt::format("authentication method \"{}\" is not supported", hba_method_name(*in.rule)));
}

bool fits(Kind kind, Method method) {
  return kind == Kind::plain || kind == (method == Method::md5 ? Kind::md5 : Kind::scram);
}

// The server wants a proof that is made of a stored secret.
Decision decide_challenging_server(const PolicyInput& in, Method method) {
  const Kind kind = known_secret(in).kind;
  if (fits(kind, method)) return challenge(in, method);
  if (in.allow_clear_text_frontend_auth) {
    Decision decision = ask_password(in, Check::by_server);
    std::get<ClientChallenge>(decision).log_text = kClearTextLog;
    return decision;
  }
  if (kind == Kind::none) return refuse_unknown(in, method);
  return refuse_unfit(in, method, kind);
}

Decision decide_by_server(const PolicyInput& in) {
  if (!in.server) return AskServer{};
  switch (*in.server) {
    case ServerMethod::trust:
      return decide_trust_rule(in);
    case ServerMethod::password:
      return ask_password(in, Check::by_server);
    case ServerMethod::md5:
      return decide_challenging_server(in, Method::md5);
    case ServerMethod::scram_sha_256:
      return decide_challenging_server(in, Method::scram);
    case ServerMethod::unsupported:
      break;
  }
  return refuse_client(Errc::unsupported_method, "the servers ask for an authentication method that is not supported");
}

}  // namespace

Decision decide(const PolicyInput& in) { return in.enable_pool_hba ? decide_by_rule(in) : decide_by_server(in); }

// Of a trusted client too: an md5 hash logs in to the servers.
bool secret_matters(const PolicyInput& in) {
  if (!in.enable_pool_hba) return true;
  if (!in.rule) return false;
  switch (*in.rule) {
    case HbaMethod::trust:
    case HbaMethod::md5:
    case HbaMethod::scram_sha_256:
    case HbaMethod::password:
      return true;
    case HbaMethod::reject:
    case HbaMethod::cert:
    case HbaMethod::pam:
    case HbaMethod::ldap:
      break;
  }
  return false;
}

Refusal refuse_unproved(std::string_view user) {
  return refuse_method(Method::password, Errc::no_entry,
                       fmt::format("pool_passwd file does not contain an entry for \"{}\"", user));
}

}  // namespace herdgate::auth

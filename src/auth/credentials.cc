#include "auth/credentials.h"

#include "auth/errc.h"

namespace herdgate::auth {

std::string_view server_method_name(ServerMethod method) {
  switch (method) {
    case ServerMethod::trust:
      return "trust";
    case ServerMethod::password:
      return "password";
    case ServerMethod::md5:
      return "md5";
    case ServerMethod::scram_sha_256:
      return "scram-sha-256";
    case ServerMethod::unsupported:
      break;
  }
  return "unsupported";
}

Result<Credentials> credentials_from(const StoredSecret& secret, std::string_view user) {
  Credentials out;
  out.user = user;
  switch (secret.kind) {
    case StoredSecret::Kind::none:
      return out;
    case StoredSecret::Kind::plain:
      out.kind = Credentials::Kind::plain;
      break;
    case StoredSecret::Kind::md5:
      out.kind = Credentials::Kind::md5;
      break;
    case StoredSecret::Kind::aes:
      return fail(Errc::unfit_secret, "the entry is still encrypted");
    case StoredSecret::Kind::scram: {
      HG_TRY(out.keys, parse_verifier(secret.value.view()));
      out.kind = Credentials::Kind::scram;
      return out;
    }
  }
  out.secret = secret.value;
  return out;
}

bool same_secret(const Credentials& a, const Credentials& b) {
  if (a.kind != b.kind || a.user != b.user) return false;
  if (a.kind == Credentials::Kind::scram) {
    return a.keys.stored_key == b.keys.stored_key && a.keys.server_key == b.keys.server_key;
  }
  return a.secret == b.secret;
}

}  // namespace herdgate::auth

// What is known of a user after the client has been examined, as far as it helps to log in to servers.
#pragma once
#include "auth/scram.h"
#include "auth/stored_secret.h"

namespace herdgate::auth {

// How a server, or a rule, wants a login to be proved.
enum class ServerMethod { trust, password, md5, scram_sha_256, unsupported };
std::string_view server_method_name(ServerMethod method);

struct Credentials {
  enum class Kind { none, plain, md5, scram };
  Kind kind = Kind::none;
  std::string user;
  Secret secret;   // plain: the password; md5: the entry "md5…"
  ScramKeys keys;  // scram: with a client_key only if a proof of the client revealed it
  // True: trusted, or we have compared the password. False: nobody has yet; then the session may start only after a
  // fresh login to a server for which ServerAuth::proved() holds, or when same_secret() holds with credentials that
  // were proved before.
  bool admitted = false;
};

Result<Credentials> credentials_from(const StoredSecret& secret, std::string_view user);

// Same user, same kind, same secret; in constant time.
bool same_secret(const Credentials& a, const Credentials& b);

}  // namespace herdgate::auth

// What can go wrong while somebody proves who he is. The words for people are in Error::context and Refusal.
#pragma once
#include "base/result.h"

namespace herdgate::auth {

enum class Errc {
  malformed_message = 1,    // bytes that the protocol does not allow
  wrong_order,              // a legal message at the wrong moment
  unsupported_mechanism,    // a SASL mechanism or an option of it that we do not offer
  unsupported_method,       // an authentication method that is not built or not known
  wrong_password,           // the proof does not fit the stored secret
  no_entry,                 // there is no secret for this user
  rejected,                 // a rule says no
  unfit_secret,             // there is a secret, but of a form this method cannot use
  bad_verifier,             // text that begins like a stored secret and is not one
  iterations_out_of_range,  // PBKDF2 rounds: 0, or more than we are willing to compute
  verifier_differs,         // the server's salt or rounds are not those of our verifier
  server_not_authentic,     // the server could not prove that it knows the verifier
  key_missing,              // no encryption key for AES entries
  bad_key,                  // the key is empty, too long, or does not open the entry
  hash_unavailable,         // the crypto library refuses this hash (MD5 under FIPS)
};
HG_DECLARE_ERRC(Errc)

}  // namespace herdgate::auth

template <>
struct std::is_error_code_enum<herdgate::auth::Errc> : std::true_type {};

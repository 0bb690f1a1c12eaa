// Cuts SCRAM messages into their attributes. Only scram_server.cc and scram_client.cc use it.
#pragma once
#include "auth/errc.h"
#include "auth/scram.h"

namespace herdgate::auth {

// Reads "x=value" attributes in their fixed order. Views into the message.
class ScramText {
 public:
  explicit ScramText(std::string_view text) : rest_(text) {}
  // The value of the next attribute, which must have this name.
  Result<std::string_view> attribute(char name);
  // Further attributes of the form letter=value are allowed and ignored, up to the end.
  Result<Done> ignore_extensions();
  bool at_end() const { return at_end_; }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
  bool at_end_ = false;
};

// Length and NUL check that every SCRAM message has to pass first.
Result<Done> check_scram_message(std::string_view text);
bool is_scram_nonce(std::string_view text);  // printable ASCII without comma, not empty
Result<int> parse_iterations(std::string_view digits);
Result<Key256> parse_key(std::string_view base64);

std::string auth_message(std::string_view client_first_bare, std::string_view server_first,
                         std::string_view client_final_without_proof);
Key256 exclusive_or(const Key256& a, const Key256& b);

}  // namespace herdgate::auth

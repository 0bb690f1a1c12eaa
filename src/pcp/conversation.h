// The server's side of one PCP connection: bytes in, what is to be done and bytes out. Pure: no sockets, no clock.
//
// Shape    feed() bytes as they come; next() gives one thing to do at a time: CheckLogin, answered by login_checked(),
//          or a Request of a user who is logged in, answered by answer() or refuse(). Until then next() gives nothing
//          and later requests wait in the input. What is to be sent gathers in take_output(). ended(): send what is
//          left, then close.
// Limits   wants_input() is false while kMaxInputBytes wait; a caller that heeds it never holds more than that and
//          one read.
// Errors   none: whatever a client sends wrong ends the conversation with an ErrorResponse of severity FATAL.
// Threads  values; belongs to its connection.
// Source   Pgpool-II 4.6, as it answered to the same bytes.
#pragma once
#include <functional>
#include <optional>
#include <variant>

#include "pcp/message.h"

namespace herdgate::pcp {

inline constexpr std::size_t kMaxInputBytes = 4096;

struct CheckLogin {
  std::string user, proof;
  Bytes salt;
};
using Act = std::variant<CheckLogin, Request>;

class Conversation {
 public:
  // `new_salt`: kSaltBytes octets that nobody can foresee.
  explicit Conversation(std::function<Bytes()> new_salt) : new_salt_(std::move(new_salt)) {}

  void feed(ByteView bytes);
  std::optional<Act> next();
  void login_checked(bool fits);
  void answer(ByteView reply);
  void refuse(const Trouble& trouble);  // FATAL ends the conversation
  Bytes take_output() { return std::exchange(output_, {}); }

  bool ended() const { return ended_; }
  // What the client did wrong, once, when the conversation was ended for it. A login that failed is not among it.
  std::optional<Trouble> take_complaint() { return std::exchange(complaint_, std::nullopt); }
  bool busy() const { return busy_; }  // something is being done
  bool logged_in() const { return logged_in_; }
  const std::string& user() const { return user_; }
  bool wants_input() const { return !ended_ && input_.size() < kMaxInputBytes; }

 private:
  std::optional<Act> serve(Request request);
  std::optional<Act> begin_login(Request request);
  void end_with(std::string message, std::string detail);

  std::function<Bytes()> new_salt_;
  Bytes input_, output_, salt_;
  std::string user_;
  std::optional<Trouble> complaint_;
  bool logged_in_ = false, busy_ = false, ended_ = false;
};

}  // namespace herdgate::pcp

#include "pcp/conversation.h"

#include <fmt/format.h>

#include "base/assert.h"
#include "pcp/errc.h"

namespace herdgate::pcp {

void Conversation::end_with(std::string message, std::string detail) {
  Trouble trouble;
  trouble.severity = "FATAL";
  trouble.message = std::move(message);
  trouble.detail = std::move(detail);
  refuse(trouble);
  complaint_ = std::move(trouble);
}

void Conversation::feed(ByteView bytes) {
  if (!ended_) input_.append(bytes);
}

std::optional<Act> Conversation::next() {
  while (!ended_ && !busy_) {
    const auto frame = first_frame(input_, kRequestLimit);
    if (!frame) {
      end_with("invalid PCP packet", fmt::format("incorrect packet length ({})", frame.error().context));
      break;
    }
    if (!*frame) break;
    auto request = parse_request(**frame);
    input_.erase(0, (**frame).whole_bytes);  // the payload's views end here; a Request holds copies
    if (!request) {
      if (request.error() == make_error_code(Errc::unknown_request)) {
        end_with("PCP processing request", fmt::format("{} \"{}\"", kUnknownRequest, request.error().context));
      } else {
        end_with("invalid PCP packet", request.error().context);
      }
      break;
    }
    if (auto act = serve(std::move(*request))) return act;
  }
  return std::nullopt;
}

// What the conversation itself can answer is answered here.
std::optional<Act> Conversation::serve(Request request) {
  switch (request.ask) {
    case Ask::salt:
      if (!logged_in_ && !salt_.empty()) {
        end_with("authentication failed for new PCP connection", "a second salt was asked for before a login");
        return std::nullopt;
      }
      salt_ = new_salt_();
      put_frame(output_, 'm', salt_);
      return std::nullopt;
    case Ask::login:
      return begin_login(std::move(request));
    case Ask::bye:
      ended_ = true;
      return std::nullopt;
    default:
      break;
  }
  if (!logged_in_) {
    end_with("authentication failed for new PCP connection", "connection not authorized");
    return std::nullopt;
  }
  if (request.ask == Ask::set_parameter) {  // client_min_messages: no notices are sent whatever it says
    put_done(output_, reply_letter(request.ask));
    return std::nullopt;
  }
  if (request.ask == Ask::stop_recovery) return std::nullopt;  // the original does nothing either, and says nothing
  busy_ = true;
  return request;
}

// A salt serves once; a failed login ends the connection, so there is one guess for each.
std::optional<Act> Conversation::begin_login(Request request) {
  logged_in_ = false;
  user_ = std::move(request.name);
  const Bytes salt = std::exchange(salt_, {});
  if (salt.empty() || user_.empty() || user_.size() > kMaxUserBytes) {
    end_with("authentication failed", "username and/or password does not match");
    return std::nullopt;
  }
  busy_ = true;
  return CheckLogin{user_, std::move(request.value), salt};
}

void Conversation::login_checked(bool fits) {
  HG_ASSERT(busy_);
  busy_ = false;
  if (!fits) {
    end_with(fmt::format("authentication failed for user \"{}\"", user_), "username and/or password does not match");
    complaint_.reset();  // whoever compared the password says it in the log
    return;
  }
  logged_in_ = true;
  Bytes payload;
  append_cstr(payload, kLoggedIn);
  put_frame(output_, 'r', payload);
}

void Conversation::answer(ByteView reply) {
  HG_ASSERT(busy_);
  busy_ = false;
  output_.append(reply);
}

void Conversation::refuse(const Trouble& trouble) {
  busy_ = false;
  put_trouble(output_, trouble);
  if (trouble.fatal()) ended_ = true;
}

}  // namespace herdgate::pcp

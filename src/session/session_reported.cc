// What servers report of the settings that a client reads texts by, and what the client was told of them. A reload of a
// server changes them for sessions that live, on each link at another time.
#include <algorithm>

#include "session/session.h"
#include "wire/backend.h"

namespace herdgate::session {
using backend::Reported;

void Session::on_parameter_status(backend::Link& link, const backend::Debt* head, const backend::Message& message) {
  const auto status = wire::parse_parameter_status(message.payload());
  if (!status || !told_) return;                             // the greeting tells the others
  if (head != nullptr && head->note != kNoteClient) return;  // tell_reported() tells what is to stay
  if (link.key().node == view().write_node()) {
    head == nullptr ? vs_.parameter_reported(status->name, status->value)
                    : vs_.parameter_heard(status->name, status->value);
  }
  if (const int place = Reported::place(status->name); place >= 0) note_told(place, status->value);
  say_aside(link, message.bytes);
}

void Session::note_told(int place, std::string_view value) {
  if (told_->at(place) == value) return;
  auto told = std::make_shared<Reported>(*told_);
  told->set(place, value);
  told_ = std::move(told);
}

// Ahead of what the client asked for, when the link has all that the session has set: what it has heard while nobody or
// somebody else used it, or during our own questions, or from a server with other settings.
void Session::tell_reported(pool::ServerLink& link) {
  if (!told_) return;
  if (mid_message()) return forget_told();
  if (cache_) {
    told_defaults_ = cache_->defaults_of(link);
    if (told_defaults_ != pool::Defaults::unknown) told_epoch_ = worker_.shared().accounts.settings_epoch();
  }
  const Reported& now = link.link->reads();
  if (now.hash() == told_->hash()) return;
  for (int place = 0; place < static_cast<int>(Reported::kNames.size()); ++place) {
    const std::string& value = now.at(place);
    if (value.empty() || value == told_->at(place)) continue;
    const std::string_view name = Reported::kNames[static_cast<std::size_t>(place)];
    const bool by_login = vs_.parameters()->find(Reported::key(place)) == nullptr;
    if (by_login && link.link->key().node == view().write_node()) vs_.parameter_reported(name, value);
    wire::put_parameter_status(client_.own(), name, value);
    client_.added_own();
    note_told(place, value);
  }
}

// What a transaction has set is gone with it: until a link has told, no answers but a server's.
void Session::forget_told() {
  told_epoch_ = 0;
  told_defaults_ = pool::Defaults::unknown;
}

}  // namespace herdgate::session

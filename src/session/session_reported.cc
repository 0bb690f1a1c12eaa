// What servers report of the settings that a client reads texts by, and what the client was told of them. A reload of a
// server changes them for sessions that live, on each link at another time.
#include <algorithm>

#include "session/session.h"
#include "wire/backend.h"

namespace herdgate::session {
using backend::Reported;

void Session::on_parameter_status(backend::Link& link, const backend::Debt* head, const backend::Message& message) {
  const auto status = wire::parse_parameter_status(message.payload());
  if (!status || !told_) return;  // the greeting tells the others
  const int place = Reported::place(status->name);
  const bool ours = head != nullptr && head->note != kNoteClient;
  if (ours) {
    // During replay the server repeats what the client was told when it set the value. What it says beside that is of a
    // reload; should a message to the client be half on its way, the next use of the link tells.
    const pool::ServerLink* server = of(link);
    const bool known = place < 0 || !told_ || told_->at(place) == status->value;
    if (known || server == nullptr || has_set(place, server->memory)) return;
    if (std::any_of(links_.begin(), links_.end(), [](const auto* other) { return other->link->mid_forward(); })) return;
  }
  if (link.key().node == view().write_node()) {
    ours || head == nullptr ? vs_.parameter_reported(status->name, status->value)
                            : vs_.parameter_heard(status->name, status->value);
  }
  if (place >= 0) note_told(place, status->value);
  client_.add(message.bytes, message.stable);
}

// By the session, or by one before it on the link: replay makes that what the session wants.
bool Session::has_set(int place, const pool::LinkMemory& memory) const {
  const std::string key = Reported::key(place);
  return vs_.parameters()->find(key) != nullptr || memory.parameters->find(key) != nullptr;
}

void Session::note_told(int place, std::string_view value) {
  if (!told_ || told_->at(place) == value) return;
  auto told = std::make_shared<Reported>(*told_);
  told->set(place, value);
  told_ = std::move(told);
}

// Ahead of a request: what the link has heard while nobody used it, or from a server with other settings.
void Session::tell_reported(pool::ServerLink& link) {
  const Reported& now = link.link->reads();
  if (cache_) told_epoch_ = worker_.shared().accounts.settings_epoch();
  if (now.hash() == told_->hash()) return;
  for (int place = 0; place < static_cast<int>(Reported::kNames.size()); ++place) {
    const std::string& value = now.at(place);
    if (value.empty() || value == told_->at(place) || has_set(place, link.memory)) continue;
    const std::string_view name = Reported::kNames[static_cast<std::size_t>(place)];
    if (link.link->key().node == view().write_node()) vs_.parameter_reported(name, value);
    wire::put_parameter_status(client_.own(), name, value);
    client_.added_own();
    note_told(place, value);
  }
}

}  // namespace herdgate::session

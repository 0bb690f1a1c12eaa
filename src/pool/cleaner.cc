#include "pool/cleaner.h"

namespace herdgate::pool {

Cleaner::~Cleaner() {
  if (loop_) loop_->cancel(timer_);
}

void Cleaner::start(net::Loop& loop, const std::vector<std::string>& queries) {
  loop_ = &loop;
  timer_ = loop.after(Pool::kCleanTimeout, [this] {
    timer_ = 0;
    finish(false);
  });
  backend::Link& link = *link_.link;
  link.set_user(this);
  if (queries.empty()) {
    // After a cancel: a round trip proves that nothing is left to be hit.
    link.send_sync(backend::Fate::swallow);
  }
  for (const std::string& sql : queries) link.send_query(sql, backend::Fate::swallow);
  link.flush();
}

void Cleaner::on_reply(backend::Link&, const backend::Debt&, const backend::Message& message, bool) {
  if (message.type == 'E') failed_ = true;  // ErrorResponse
}

void Cleaner::on_ended(backend::Link& link, const backend::Debt&, backend::Ended how) {
  if (how != backend::Ended::ok) failed_ = true;
  if (link.ledger().empty()) finish(!failed_);
}

void Cleaner::on_lost(backend::Link&, const Error&) { finish(false); }

void Cleaner::finish(bool fine) {
  if (finished_) return;
  finished_ = true;
  // Not from within the link's own event.
  loop_->defer([&pool = pool_, &link = link_, fine, alive = pool_.alive_] {
    if (!*alive) return;
    if (pool.cleaning_.erase(&link) > 0) pool.count_cleaning(link, -1);
    link.link->set_user(nullptr);
    pool.cleaned(link, fine);
  });
}

}  // namespace herdgate::pool

#include "backend/client.h"

namespace herdgate::backend {

Client::Client(net::Loop& loop, net::BlockingPool& blocking, Scratch& scratch, OpenRequest request)
    : loop_(loop), scratch_(scratch), key_(request.key) {
  opener_ = std::make_unique<Opener>(loop, blocking, std::move(request),
                                     [this](tl::expected<Opened, OpenFailure> result) { opened(std::move(result)); });
}

Client::~Client() {
  *alive_ = false;
  for (Job& job : jobs_) loop_.cancel(job.timer);
  if (link_) link_->close(Error{Errc::closed_by_us, {}});
}

void Client::opened(tl::expected<Opened, OpenFailure> result) {
  if (!result) {
    refused_ = std::move(result.error());
    return give_up(refused_->error);
  }
  link_ = std::make_unique<Link>(LinkId(0), key_, std::move(result->greeting));
  link_->set_user(this);
  if (auto attached = link_->attach(loop_, scratch_, std::move(result->socket)); !attached)
    return give_up(attached.error());
  start_next();
}

void Client::query(std::string sql, Deadline deadline, OnRows done) {
  if (broken_ || jobs_.size() >= kMaxQueued) {
    const Error why = broken_ ? *broken_ : Error{Errc::query_failed, "too many queries are waiting"};
    loop_.defer([why, done = std::move(done)] { done(fail(why)); });
    return;
  }
  Job job{std::move(sql), deadline, std::move(done), 0, ++last_job_};
  job.timer = loop_.after(deadline.at - loop_.now(), [this] { give_up(Error{Errc::timed_out, "query"}); });
  jobs_.push_back(std::move(job));
  start_next();
}

void Client::start_next() {
  if (!link_ || running_ || jobs_.empty()) return;
  running_ = true;
  rows_.clear();
  sqlstate_.clear();
  failed_.reset();
  link_->send_query(jobs_.front().sql, Fate::capture);
  link_->flush();
}

void Client::on_rows(Link&, const Debt&, ByteView bytes, bool) {
  if (rows_.size() + bytes.size() > kMaxResultBytes) {
    failed_ = Error{Errc::result_too_large, {}};
    return;
  }
  rows_.append(bytes);
}

void Client::on_reply(Link&, const Debt&, const Message& message, bool) {
  if (message.type != wire::be::kError || failed_) return;
  auto report = wire::parse_report(message.payload());
  if (report) sqlstate_ = report->sqlstate;
  failed_ =
      Error{Errc::query_failed, report ? fmt::format("{} ({})", report->message, report->sqlstate) : "unreadable"};
}

void Client::on_ended(Link&, const Debt&, Ended) { finish(failed_ ? Result<Rows>(fail(*failed_)) : read_rows(rows_)); }

Result<Rows> read_rows(ByteView messages) {
  Rows rows;
  for (std::size_t at = 0; at + wire::kHeaderBytes <= messages.size();) {
    const std::size_t length = load_u32(messages.data() + at + 1);
    HG_TRY(auto columns, wire::parse_data_row(messages.substr(at + wire::kHeaderBytes, length - 4)));
    auto& row = rows.emplace_back();
    for (const auto& column : columns) {
      if (column) {
        row.emplace_back(std::string(*column));
      } else {
        row.emplace_back(std::nullopt);
      }
    }
    at += length + 1;
  }
  return rows;
}

void Client::finish(Result<Rows> rows) {
  Job job = std::move(jobs_.front());
  jobs_.pop_front();
  running_ = false;
  loop_.cancel(job.timer);
  // Not from within the link's own event: `done` may destroy this client.
  loop_.defer([this, alive = alive_, done = std::move(job.done), rows = std::move(rows)]() mutable {
    if (!*alive) return;
    done(std::move(rows));
    if (*alive) start_next();
  });
}

void Client::on_lost(Link&, const Error& why) { give_up(why); }

void Client::give_up(const Error& why) {
  if (broken_) return;
  broken_ = why;
  if (link_) link_->close(why);
  loop_.defer([this, alive = alive_, why] {
    while (*alive && !jobs_.empty()) {
      Job job = std::move(jobs_.front());
      jobs_.pop_front();
      loop_.cancel(job.timer);
      job.done(fail(why));
    }
  });
}

}  // namespace herdgate::backend

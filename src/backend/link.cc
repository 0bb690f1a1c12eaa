#include "backend/link.h"

#include "base/assert.h"
#include "base/prefetch.h"
#include "wire/backend.h"
#include "wire/frontend.h"

namespace herdgate::backend {
namespace {
using namespace wire::be;

bool is_async(char type) { return type == kNotice || type == kNotification || type == kParameterStatus; }

}  // namespace

bool wanted_whole(char type) { return type != kDataRow && type != kCopyData; }

Link::Link(LinkId id, LinkKey key, Greeting greeting)
    : id_(id), key_(std::move(key)), greeting_(std::move(greeting)), scanner_(wanted_whole, kMaxWhole) {
  for (const auto& [name, value] : greeting_.parameters) {
    if (const int place = Reported::place(name); place >= 0) reads_.set(place, value);
  }
}

Link::~Link() {
  if (loop_ && socket_.open()) {
    loop_->forget(socket_.fd());
    loop_->cancel(turn_);
  }
}

Result<Done> Link::attach(net::Loop& loop, Scratch& scratch, net::Socket socket) {
  loop_ = &loop;
  scratch_ = &scratch;
  socket_ = std::move(socket);
  readable_ = drained_untold_ = false;
  writable_ = true;
  return loop.watch(socket_.fd(), *this);
}

net::Socket Link::detach() {
  HG_ASSERT(ledger_.empty() && unsent() == 0);
  loop_->unwatch(socket_.fd());
  loop_->cancel(std::exchange(turn_, 0));
  loop_ = nullptr;
  return std::move(socket_);
}

void Link::owe(Owes what, Fate fate, std::uint16_t note, std::uint16_t item) {
  if (ledger_.skipping() && what != Owes::sync) return;  // the server ignores it
  if (what == Owes::query) ++queries_;
  unsynced_ = what != Owes::query && what != Owes::sync && what != Owes::function_call;
  ledger_.owe(Debt{what, fate, note, item, {}});
}

void Link::send(ByteView message, Owes what, Fate fate, std::uint16_t note, std::uint16_t item) {
  out_.append(message);
  owe(what, fate, note, item);
}

void Link::send_query(std::string_view sql, Fate fate, std::uint16_t note, std::uint16_t item) {
  wire::put_query(out_, sql);
  owe(Owes::query, fate, note, item);
}

void Link::send_sync(Fate fate, std::uint16_t note) {
  wire::put_empty(out_, wire::fe::kSync);
  owe(Owes::sync, fate, note);
}

void Link::send_unanswered(ByteView bytes, std::size_t missing) {
  out_.append(bytes);
  missing_ = missing;
}

void Link::owe_local(ByteView reply, std::uint16_t note, std::uint16_t item) {
  ledger_.owe(Debt{Owes::local, Fate::forward, note, item, reply});
}

void Link::flush() {
  if (lost_) return;
  const Lifetime::Watch link(lifetime_);
  if (ledger_.local_due()) emit_local(link);
  if (link.alive() && !lost_) write_some();
}

void Link::write_some() {
  while (unsent() > 0 && writable_) {
    const iovec rest{out_.data() + out_sent_, unsent()};
    const net::Io io = socket_.send_soon(*loop_, {&rest, 1});
    if (io.state == net::Io::failed || io.state == net::Io::closed) return write_failed();
    out_sent_ += io.bytes;
    if (!io.still_ready) writable_ = false;
  }
  if (unsent() == 0) {
    out_sent_ = 0;
    // A buffer that once grew is given back: an idle link holds no memory.
    if (out_.capacity() > 16 * 1024) {
      Bytes().swap(out_);
    } else {
      out_.clear();
    }
  }
}

// What has to wait for the loop's next turn, and not for room, goes by a write of its own.
bool Link::send_now() {
  if (lost_) return false;
  loop_->send_queued(socket_.fd());
  if (unsent() == 0) return true;
  if (writable_) return false;  // not flushed yet
  const net::Io io = socket_.write(*loop_, ByteView(out_).substr(out_sent_));
  out_sent_ += io.bytes;
  drained_untold_ = unsent() == 0;
  return drained_untold_;
}

// The server's last words (why it closed) may still be readable; the read side reports the loss.
void Link::write_failed() {
  writable_ = false;
  readable_ = hangup_ = true;
  out_.clear();
  out_sent_ = 0;
  if (turn_ != 0) return;
  turn_ = loop_->after(Duration::zero(), [this] {
    turn_ = 0;
    read_some();
  });
}

void Link::on_unsent(std::string_view rest, int errno_value) {
  if (errno_value != 0) return write_failed();
  out_.replace(0, out_sent_, rest);
  out_sent_ = 0;
  writable_ = false;
}

bool Link::clean() const {
  return !lost_ && ledger_.empty() && !ledger_.skipping() && !unsynced_ && status_ == 'I' && unsent() == 0 &&
         missing_ == 0 && !scanner_.mid_message();
}

void Link::pause() { paused_ = true; }

void Link::resume() {
  if (!paused_) return;
  paused_ = false;
  if (readable_ && turn_ == 0 && loop_) {
    turn_ = loop_->after(Duration::zero(), [this] {
      turn_ = 0;
      read_some();
    });
  }
}

void Link::close(const Error&) {
  if (!socket_.open()) return;
  if (loop_) {
    send_now();
    loop_->forget(socket_.fd());
    loop_->cancel(std::exchange(turn_, 0));
    if (!lost_ && unsent() == 0 && missing_ == 0) {
      Bytes bye;
      wire::put_empty(bye, wire::fe::kTerminate);
      socket_.write(*loop_, bye);
    }
  }
  lost_ = true;
  socket_.close();
}

void Link::lose(Error why) {
  if (lost_) return;
  lost_ = true;
  if (loop_ && socket_.open()) {
    loop_->forget(socket_.fd());
    loop_->cancel(std::exchange(turn_, 0));
  }
  socket_.close();
  if (user_) return user_->on_lost(*this, why);
  if (keeper_) keeper_->on_lost_unused(*this);
}

void Link::approach(int others) const {
  if (others > 1)
    return prefetch(&loop_, reinterpret_cast<const char*>(&turn_) - reinterpret_cast<const char*>(&loop_));
  if (user_ != nullptr) prefetch(user_, kUserBytes);
}

void Link::on_ready(unsigned ready) {
  const Lifetime::Watch link(lifetime_);
  if (ready & net::kHangup) hangup_ = true;
  if (ready & net::kWritable) {
    writable_ = true;
    const bool untold = std::exchange(drained_untold_, false);
    if (unsent() > 0 || untold) {
      write_some();
      if (link.alive() && !lost_ && unsent() == 0 && user_) user_->on_drained(*this);
      if (!link.alive() || lost_) return;
    }
  }
  if (ready & (net::kReadable | net::kHangup)) {
    readable_ = true;
    read_some();
  }
}

void Link::read_some() {
  const Lifetime::Watch link(lifetime_);
  for (int turn = 0; readable_ && !paused_; ++turn) {
    if (turn == kReadsPerTurn) {  // let the others have their turn
      if (turn_ == 0) {
        turn_ = loop_->after(Duration::zero(), [this] {
          turn_ = 0;
          read_some();
        });
      }
      return;
    }
    const net::Io io = socket_.read(*loop_, scratch_->bytes);
    if (io.state == net::Io::would_block) {
      readable_ = false;
      return;
    }
    if (io.state != net::Io::ok) {
      lose(Error{Errc::closed_by_server, io.state == net::Io::failed ? std::strerror(io.errno_value) : ""});
      return;
    }
    readable_ = io.still_ready || hangup_;
    process(ByteView(scratch_->bytes.data(), io.bytes));
    if (!link.alive() || lost_) return;
  }
}

void Link::process(ByteView chunk) {
  const Lifetime::Watch link(lifetime_);
  scanner_.begin(chunk);
  for (;;) {
    if (deal_answer(link)) {
      if (!link.alive() || lost_) return;
      continue;
    }
    if (const wire::Run run = take_run(); !run.bytes.empty()) {
      if (user_ && ledger_.head().fate != Fate::swallow) user_->on_rows(*this, ledger_.head(), run.bytes, true);
      if (!link.alive() || lost_) return;
      continue;
    }
    wire::Piece piece;
    if (!scanner_.take_whole(piece)) {
      Result<wire::Piece> next = scanner_.next();
      if (!next) return break_off(next.error().text());
      if (next->kind == wire::Piece::Kind::end) break;
      piece = *next;
    }
    const bool fine = deal(piece, link);
    if (!link.alive() || lost_) return;
    if (!fine) return break_off(fmt::format("unexpected message '{}'", piece.type));
  }
  if (user_) user_->on_chunk_end(*this);
}

// What came before in this chunk is complete; what comes now is not what a server says.
void Link::break_off(std::string why) {
  const Lifetime::Watch link(lifetime_);
  if (user_) user_->on_chunk_end(*this);
  if (link.alive()) lose(Error{Errc::protocol_broken, std::move(why)});
}

// Rows and COPY data of the head entry go by the run, not by the message.
wire::Run Link::take_run() {
  const char type = scanner_.next_type();
  if (type != kDataRow && type != kCopyData) return {};
  if (ledger_.empty() || (ledger_.head().what != Owes::query && ledger_.head().what != Owes::execute)) return {};
  return scanner_.take_rows(type);
}

// False: what comes next goes the long way.
bool Link::deal_answer(const Lifetime::Watch& link) {
  if (ledger_.empty() || ledger_.saw_error() || !user_) return false;
  const ByteView ahead = scanner_.ahead();
  const Debt& head = ledger_.head();
  if (ahead.empty() || head.fate != Fate::forward || !user_->takes_answers(head)) return false;
  const Answer answer = take_answer(ahead, ledger_);
  if (answer.size() == 0) return false;
  scanner_.skip(answer.size());
  if (!answer.ready.empty()) status_ = answer.ready.back();
  user_->on_answer(*this, answer);
  if (link.alive() && !lost_ && ledger_.local_due()) emit_local(link);
  return true;
}

bool Link::deal(const wire::Piece& piece, const Lifetime::Watch& link) {
  if (piece.kind == wire::Piece::Kind::whole && wanted_whole(piece.type)) return deal_whole(piece, link);
  if (piece.type == kError || piece.type == kNotice) return deal_long(piece, link);
  return deal_part(piece);
}

// An error or a notice over kMaxWhole.
bool Link::deal_long(const wire::Piece& piece, const Lifetime::Watch& link) {
  const Debt* head = ledger_.empty() ? nullptr : &ledger_.head();
  const Message part{piece.type, piece.bytes, !piece.buffered, true};
  if (piece.type == kNotice) {
    if (user_) user_->on_async(*this, head, part);
    return true;
  }
  if (piece.kind == wire::Piece::Kind::head) {
    const Verdict verdict = ledger_.on_message(piece.type);
    if (verdict.action == Verdict::Action::broken) return false;
    long_error_ends_head_ = verdict.done;
    if (user_) user_->on_reply(*this, *head, part, verdict.done);
    return true;
  }
  if (user_ && head != nullptr && head->fate == Fate::forward)
    user_->on_rows(*this, *head, piece.bytes, !piece.buffered);
  if (!link.alive() || lost_ || !piece.last) return true;
  if (std::exchange(long_error_ends_head_, false)) finish_head(true, link);
  return true;
}

// Rows, COPY data, and whatever else is too long to be looked at.
bool Link::deal_part(const wire::Piece& piece) {
  if (piece.kind != wire::Piece::Kind::continuation) {
    if (is_async(piece.type)) return false;
    const Verdict verdict = ledger_.on_message(piece.type);
    if (verdict.action == Verdict::Action::broken || verdict.done || verdict.error) return false;
  }
  if (ledger_.empty()) return false;
  if (user_ && ledger_.head().fate != Fate::swallow) {
    user_->on_rows(*this, ledger_.head(), piece.bytes, !piece.buffered);
  }
  return true;
}

bool Link::deal_async(const wire::Piece& piece) {
  if (piece.type == kParameterStatus) {
    auto status = wire::parse_parameter_status(piece.payload());
    if (!status) return false;
    if (const int place = Reported::place(status->name); place >= 0) reads_.set(place, status->value);
    const auto known = greeting_.parameters.find(status->name);
    if (known != greeting_.parameters.end()) {
      known->second = status->value;
    } else {
      greeting_.parameters.emplace(status->name, status->value);
    }
  }
  if (user_) {
    const Debt* head = ledger_.empty() ? nullptr : &ledger_.head();
    user_->on_async(*this, head, Message{piece.type, piece.bytes, !piece.buffered});
  }
  return true;
}

void Link::hear_error(const wire::Piece& piece) {
  const auto report = wire::parse_report(piece.payload());
  if (!report || (report->severity != "FATAL" && report->severity != "PANIC")) return;
  farewell_ = report->sqlstate;
  panicked_ = report->severity == "PANIC";
}

bool Link::deal_whole(const wire::Piece& piece, const Lifetime::Watch& link) {
  if (is_async(piece.type)) return deal_async(piece);
  if (piece.type == kError) hear_error(piece);
  if (piece.type == kError && ledger_.empty()) {
    // An error nobody is owed: the server says good-bye (57P01 and the like). The link ends; its words say why.
    auto report = wire::parse_report(piece.payload());
    const std::string why = report ? std::string(report->message) : "unreadable error";
    if (user_) user_->on_chunk_end(*this);  // what came before it in this chunk is complete
    if (link.alive() && !lost_) lose(Error{Errc::closed_by_server, why});
    return true;
  }
  if (piece.type == kError && !wire::parse_report(piece.payload())) return false;
  const Verdict verdict = ledger_.on_message(piece.type);
  if (verdict.action == Verdict::Action::broken) return false;
  if (piece.type == kReady) {
    auto status = wire::parse_ready(piece.payload());
    if (!status) return false;
    status_ = *status;
  }
  if (user_) user_->on_reply(*this, ledger_.head(), Message{piece.type, piece.bytes, !piece.buffered}, verdict.done);
  if (!link.alive() || lost_) return true;
  if (verdict.done) finish_head(verdict.error, link);
  return true;
}

void Link::finish_head(bool failed, const Lifetime::Watch& link) {
  const bool query_failed = !failed && ledger_.saw_error();
  ledger_.finish(failed, [&](const Debt& debt, Ended how) {
    if (!link.alive() || !user_) return;
    user_->on_ended(*this, debt, query_failed && how == Ended::ok ? Ended::failed : how);
  });
  if (link.alive() && !lost_ && ledger_.local_due()) emit_local(link);
}

void Link::emit_local(const Lifetime::Watch& link) {
  while (link.alive() && ledger_.local_due()) {
    const Debt due = ledger_.pop();
    if (user_) user_->on_ended(*this, due, Ended::ok);
  }
}

}  // namespace herdgate::backend

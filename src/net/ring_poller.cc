#include <liburing.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <string>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/assert.h"
#include "net/errc.h"
#include "net/poller.h"

namespace herdgate::net {
namespace {

constexpr unsigned kSubmissions = 1024, kCompletions = 8192;
constexpr unsigned kInput = POLLIN | POLLRDHUP;
// The low half of user_data is a descriptor, or with this bit an entry of the batch. kNobody: an end that only its
// failure could tell, and that does not matter.
constexpr std::uint64_t kSend = 1U << 31, kHigh = ~std::uint64_t{0} << 31, kNobody = ~std::uint64_t{0};

// The kernel takes the message at once or says how much of it: MSG_DONTWAIT forbids that it waits for room, and with
// MSG_WAITALL a part is a failure, which is told although success is not.
void prepare_send(io_uring_sqe* sqe, int fd, const char* data, std::size_t size, std::uint64_t mark) {
  ::io_uring_prep_send(sqe, fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT | MSG_WAITALL);
  sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
  ::io_uring_sqe_set_data64(sqe, mark);
}

class Ring final : public Poller, private SendBatch {
 public:
  Ring() = default;
  ~Ring() override {
    if (made_) ::io_uring_queue_exit(&ring_);
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  int make();   // 0 or an errno
  int start();  // likewise; for this thread
  Result<Done> add(int fd, std::uint64_t mark, Interest interest) override;
  void remove(int fd, std::uint64_t mark) override;
  void widen(int fd, std::uint64_t mark, std::uint64_t fresh) override;
  void forget(int fd, std::uint64_t mark) override { remove(fd, mark); }
  std::span<const Event> wait(int timeout_ms) override;
  std::span<const std::uint64_t> ended() override { return ended_; }
  void arm_again(std::uint64_t mark) override { arm(static_cast<int>(mark & ~kHigh), mark); }
  SendBatch* batch() override { return this; }
  std::span<const Refused> refused() override { return refused_; }
  void next() override;

 private:
  struct Entry {
    io_uring_sqe* sqe;  // null: it has gone
    std::uint64_t mark;
    std::size_t offset, size;
  };

  std::uint64_t number() const override { return number_; }
  std::uint32_t begin(int fd, std::uint64_t mark, std::span<const iovec> pieces, std::size_t total) override;
  bool append(std::uint32_t entry, std::span<const iovec> pieces, std::size_t total) override;
  void go() override;
  bool refused(std::uint32_t entry, Refused& what) override;

  bool mine() const { return enabled_ && owner_ == std::this_thread::get_id(); }
  io_uring_sqe* submission();
  bool arm(int fd, std::uint64_t mark);
  void copy(std::span<const iovec> pieces);
  Refused refused_of(const Entry& entry, int result) const;
  int enter(int timeout_ms);
  void gone();
  void take_all();
  void take(const io_uring_cqe& done);

  io_uring ring_{};
  bool made_ = false, enabled_ = false;
  std::thread::id owner_;  // the kernel takes entries of no other thread
  std::vector<Event> events_;
  std::vector<std::uint64_t> ended_;
  std::unordered_map<std::uint64_t, Interest> others_;  // not watched by the edges of input: mostly few
  std::vector<Refused> refused_;
  std::vector<Entry> entries_;
  std::unique_ptr<char[]> room_;
  std::size_t used_ = 0;
  std::uint64_t number_ = 1;
};

// Made disabled: the thread that enables it is the one that it belongs to.
int Ring::make() {
  io_uring_params params{};
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE |
                 IORING_SETUP_R_DISABLED | IORING_SETUP_SUBMIT_ALL;
  params.cq_entries = kCompletions;
  const int result = ::io_uring_queue_init_params(kSubmissions, &ring_, &params);
  if (result < 0) return -result;
  made_ = true;
  room_ = std::make_unique<char[]>(kRoom);
  events_.reserve(kEventsPerWait);
  return 0;
}

// A filter may forbid each of the three system calls by itself.
int Ring::start() {
  if (const int result = ::io_uring_enable_rings(&ring_); result < 0) return -result;
  enabled_ = true;
  owner_ = std::this_thread::get_id();
  ::io_uring_register_ring_fd(&ring_);  // saves the look-up of the descriptor at each call; without it all works too
  return -std::min(::io_uring_get_events(&ring_), 0);
}

// Where the queue is full it goes at once, with what of the batch is in it. Null: nobody takes it any more.
io_uring_sqe* Ring::submission() {
  io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
  while (sqe == nullptr && mine()) {
    go();
    sqe = ::io_uring_get_sqe(&ring_);
  }
  return sqe;
}

Result<Done> Ring::add(int fd, std::uint64_t mark, Interest interest) {
  if (interest != Interest::input_edge) others_.emplace(mark, interest);
  if (!arm(fd, mark)) return fail(Errc::watch_failed, "the event loop has ended");
  return Done{};
}

// By the edge a request stays until it is removed. By the level it ends with its event, and is made anew with the next
// wait, which finds what is ready already.
bool Ring::arm(int fd, std::uint64_t mark) {
  io_uring_sqe* sqe = submission();
  if (sqe == nullptr) return false;
  const auto other = others_.find(mark);
  if (other == others_.end()) {
    ::io_uring_prep_poll_multishot(sqe, fd, kInput);
  } else if (other->second == Interest::edges) {
    ::io_uring_prep_poll_multishot(sqe, fd, kInput | POLLOUT);
  } else {
    ::io_uring_prep_poll_add(sqe, fd, POLLIN);
  }
  ::io_uring_sqe_set_data64(sqe, mark);
  return true;
}

// The kernel holds the file open until this has gone, closed as its descriptor may be. A listening socket must not
// take anybody meanwhile. (IORING_OP_POLL_REMOVE fails where an event is just on its way; this does not.)
void Ring::remove(int, std::uint64_t mark) {
  io_uring_sqe* sqe = submission();
  if (sqe == nullptr) return;
  ::io_uring_prep_cancel64(sqe, mark, 0);
  sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
  ::io_uring_sqe_set_data64(sqe, kNobody);
  const auto other = others_.find(mark);
  if (other == others_.end()) return;
  const bool level = other->second == Interest::input_level;
  others_.erase(other);
  if (!level || !mine()) return;
  go();
  ::io_uring_get_events(&ring_);  // the cancel is done by then, unless much else is under way
}

void Ring::widen(int fd, std::uint64_t mark, std::uint64_t fresh) {
  remove(fd, mark);
  static_cast<void>(add(fd, fresh, Interest::edges));  // refused only when nobody waits any more
}

std::span<const Poller::Event> Ring::wait(int timeout_ms) {
  if (!enabled_) HG_ASSERT(start() == 0);
  gone();
  const int result = enter(timeout_ms);
  HG_ASSERT(result >= 0 || result == -EINTR || result == -ETIME || result == -EAGAIN || result == -EBUSY);
  events_.clear();
  ended_.clear();
  refused_.clear();
  take_all();
  while (::io_uring_cq_has_overflow(&ring_)) {  // there were more than the ring has room for
    ::io_uring_get_events(&ring_);
    take_all();
  }
  HG_ASSERT(*ring_.cq.koverflow == 0);  // the kernel had no memory to keep them: what was not sent would be lost
  return events_;
}

void Ring::take_all() {
  unsigned head = 0, count = 0;
  const io_uring_cqe* done = nullptr;
  io_uring_for_each_cqe(&ring_, head, done) {
    ++count;
    take(*done);
  }
  ::io_uring_cq_advance(&ring_, count);
}

int Ring::enter(int timeout_ms) {
  if (timeout_ms == 0) return ::io_uring_submit_and_get_events(&ring_);
  if (timeout_ms < 0) return ::io_uring_submit_and_wait(&ring_, 1);
  __kernel_timespec limit{timeout_ms / 1000, timeout_ms % 1000 * 1'000'000LL};
  io_uring_cqe* first = nullptr;
  return ::io_uring_submit_and_wait_timeout(&ring_, &first, 1, &limit, nullptr);
}

void Ring::take(const io_uring_cqe& done) {
  const std::uint64_t mark = done.user_data;
  if (mark == kNobody || done.res == -ECANCELED) return;
  if (mark & kSend) {
    refused_.push_back(refused_of(entries_[mark & ~kSend], done.res));
    return;
  }
  // A request that cannot be served: the owner's next read or write tells him why.
  const auto events = done.res >= 0 ? static_cast<std::uint32_t>(done.res) : POLLERR;
  events_.push_back({mark, ready_of(events)});
  if (!(done.flags & IORING_CQE_F_MORE) && done.res >= 0) ended_.push_back(mark);
}

SendBatch::Refused Ring::refused_of(const Entry& entry, int result) const {
  const std::string_view all(room_.get() + entry.offset, entry.size);
  if (result >= 0) return {entry.mark, all.substr(std::min(static_cast<std::size_t>(result), all.size())), 0};
  const bool full = result == -EAGAIN || result == -EINTR;
  return {entry.mark, all, full ? 0 : -result};
}

std::uint32_t Ring::begin(int fd, std::uint64_t mark, std::span<const iovec> pieces, std::size_t total) {
  if (entries_.size() == kMostEntries || kRoom - used_ < total || !enabled_) return kNone;
  io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
  if (sqe == nullptr) return kNone;
  const auto place = static_cast<std::uint32_t>(entries_.size());
  prepare_send(sqe, fd, room_.get() + used_, total, kSend | place);
  entries_.push_back({sqe, mark, used_, total});
  copy(pieces);
  return place;
}

// What another one stands behind moves to the end.
bool Ring::append(std::uint32_t place, std::span<const iovec> pieces, std::size_t total) {
  Entry& entry = entries_[place];
  if (entry.sqe == nullptr || entry.size + total > kLongest) return false;
  const bool last = entry.offset + entry.size == used_;
  if (kRoom - used_ < total + (last ? 0 : entry.size)) return false;
  if (!last) {
    std::memcpy(room_.get() + used_, room_.get() + entry.offset, entry.size);
    entry.offset = used_;
    used_ += entry.size;
  }
  copy(pieces);
  entry.size += total;
  entry.sqe->addr = reinterpret_cast<std::uint64_t>(room_.get() + entry.offset);
  entry.sqe->len = static_cast<std::uint32_t>(entry.size);
  return true;
}

void Ring::copy(std::span<const iovec> pieces) {
  for (const iovec& piece : pieces) {
    std::memcpy(room_.get() + used_, piece.iov_base, piece.iov_len);
    used_ += piece.iov_len;
  }
}

// From here on no entry may be added to.
void Ring::gone() {
  for (Entry& entry : entries_) entry.sqe = nullptr;
}

// Not before all has gone: a descriptor's number may be somebody else's next. The kernel may be short of memory.
void Ring::go() {
  gone();
  while (mine() && ::io_uring_sq_ready(&ring_) > 0) {
    const int result = ::io_uring_submit(&ring_);
    if (result >= 0) continue;
    HG_ASSERT(result == -EAGAIN || result == -EBUSY || result == -EINTR);
    std::this_thread::yield();
  }
}

bool Ring::refused(std::uint32_t place, Refused& what) {
  unsigned head = 0;
  io_uring_cqe* done = nullptr;
  io_uring_for_each_cqe(&ring_, head, done) {
    if (done->user_data != (kSend | place)) continue;
    what = refused_of(entries_[place], done->res);
    done->user_data = kNobody;
    return true;
  }
  return false;
}

// What the kernel, short of memory, has not taken goes with the next wait.
void Ring::next() {
  refused_.clear();
  if (::io_uring_sq_ready(&ring_) > 0) return;
  entries_.clear();
  used_ = 0;
  ++number_;
}

// A part must be told to the octet, for the rest would otherwise be lost or sent twice: that is tried, once.
Result<Done> try_ring() {
  Ring ring;
  int error = ring.make();
  if (error == 0) error = ring.start();
  if (error != 0) return fail(Errc::no_ring, std::generic_category().message(error));
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair.data()) != 0)
    return fail(Errc::no_ring, std::generic_category().message(errno));
  const int small = SendBatch::kLongest / 2;
  ::setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
  Poller& poller = ring;
  const auto mark = static_cast<std::uint64_t>(pair[1]);
  bool heard = poller.add(pair[1], mark, Poller::Interest::edges).has_value();
  poller.wait(0);
  poller.next();
  std::string message(SendBatch::kLongest, 'x');
  const iovec piece{message.data(), message.size()};
  std::size_t rest = 0, read = 0;
  heard = heard && poller.batch()->begin(pair[0], mark, {&piece, 1}, piece.iov_len) != SendBatch::kNone;
  for (const Poller::Event& event : poller.wait(0)) heard = heard && event.mark == mark;
  for (const SendBatch::Refused& one : poller.refused()) rest += one.rest.size();
  for (ssize_t got = 1; got > 0; read += static_cast<std::size_t>(std::max<ssize_t>(got, 0)))
    got = ::recv(pair[1], message.data(), message.size(), 0);
  ::close(pair[0]);
  ::close(pair[1]);
  if (heard && rest > 0 && read > 0 && read + rest == message.size()) return Done{};
  return fail(Errc::no_ring, "the kernel does not say how much of a message a socket has taken");
}

}  // namespace

Result<Done> ring_usable() {
  static const Result<Done> tried = try_ring();
  return tried;
}

Result<std::unique_ptr<Poller>> make_ring() {
  HG_CHECK(ring_usable());
  auto ring = std::make_unique<Ring>();
  if (const int error = ring->make(); error != 0) return fail(Errc::no_ring, std::generic_category().message(error));
  return ring;
}

}  // namespace herdgate::net

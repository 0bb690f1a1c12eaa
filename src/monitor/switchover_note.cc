#include "monitor/switchover_note.h"

#include <utility>

#include "monitor/errc.h"
#include "monitor/state_store.h"

namespace herdgate::monitor {

void SwitchoverNote::set(std::string path, std::optional<std::string> text, Written done) {
  auto work = std::make_shared<const Work>(Work{std::move(path), std::move(text), std::move(done)});
  if (waiting_.size() >= kMaxWaiting) return refuse(std::move(work));
  waiting_.push_back(std::move(work));
  if (!busy_) next();
}

// Whoever called set() is not ready for the answer yet.
void SwitchoverNote::refuse(std::shared_ptr<const Work> work) {
  means_.loop.defer([work = std::move(work), alive = alive_] {
    if (*alive) work->done(fail(Errc::state_file_unwritable, work->path + ": too much work is waiting"));
  });
}

void SwitchoverNote::next() {
  const auto work = std::move(waiting_.front());
  waiting_.pop_front();
  const auto result = std::make_shared<Result<Done>>(Done{});
  busy_ = means_.blocking.submit(
      means_.loop,
      [work, result] {
        *result = work->text ? write_state_file(work->path, *work->text, Durable::yes) : remove_state_file(work->path);
      },
      [this, work, result, alive = alive_] {
        if (*alive) ended(*work, *result);
      });
  if (!busy_) refuse(work);
}

void SwitchoverNote::ended(const Work& work, const Result<Done>& result) {
  busy_ = false;
  work.done(result);
  while (!waiting_.empty() && !busy_) next();
  if (busy_) return;
  for (const auto& call : std::exchange(patient_, {})) call();
}

void SwitchoverNote::settled(Duration limit, std::function<void()> then) {
  const auto once = [alive = alive_, held = std::make_shared<std::function<void()>>(std::move(then))] {
    const auto call = std::exchange(*held, nullptr);
    if (*alive && call) call();
  };
  if (!busy_) return means_.loop.defer(once);
  patient_.push_back(once);
  means_.loop.after(limit, once);
}

}  // namespace herdgate::monitor

#include "monitor/switchover_note.h"

#include <utility>

#include "monitor/errc.h"
#include "monitor/state_store.h"

namespace herdgate::monitor {

void SwitchoverNote::set(std::string path, std::optional<std::string> text, Written done) {
  waiting_ = Work{std::move(path), std::move(text), std::move(done)};
  if (!busy_) next();
}

void SwitchoverNote::next() {
  const auto work = std::make_shared<Work>(*std::exchange(waiting_, std::nullopt));
  const auto result = std::make_shared<Result<Done>>(Done{});
  busy_ = means_.blocking.submit(
      means_.loop,
      [work, result] {
        *result = work->text ? write_state_file(work->path, *work->text, Durable::yes) : remove_state_file(work->path);
      },
      [this, work, result, alive = alive_] {
        if (*alive) ended(*work, *result);
      });
  if (busy_) return;
  means_.loop.defer([work, alive = alive_] {  // whoever called set() is not ready for the answer yet
    if (*alive) work->done(fail(Errc::state_file_unwritable, work->path + ": too much work is waiting"));
  });
}

void SwitchoverNote::ended(const Work& work, const Result<Done>& result) {
  busy_ = false;
  work.done(result);
  if (waiting_ && !busy_) next();
}

}  // namespace herdgate::monitor

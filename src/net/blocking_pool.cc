#include <pthread.h>

#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <thread>

#include "net/socket.h"

namespace herdgate::net {
namespace {

struct Job {
  Loop* home = nullptr;
  std::function<void()> work, done;
};

}  // namespace

struct BlockingPool::State {
  std::mutex mutex;
  std::condition_variable something;
  std::deque<Job> jobs;  // guarded by mutex
  bool stopping = false;
  std::vector<std::thread> threads;

  void serve();
};

void BlockingPool::State::serve() {
  std::unique_lock lock(mutex);
  for (;;) {
    something.wait(lock, [this] { return stopping || !jobs.empty(); });
    if (stopping) return;
    Job job = std::move(jobs.front());
    jobs.pop_front();
    lock.unlock();
    job.work();
    job.work = nullptr;  // what it captured ends here, before its owner hears that it is done
    job.home->post(std::move(job.done));
    lock.lock();
  }
}

BlockingPool::BlockingPool(int threads) : state_(std::make_unique<State>()) {
  // Signals are for the thread that waits for them; these take none.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (int i = 0; i < threads; ++i) state_->threads.emplace_back([this] { state_->serve(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

BlockingPool::~BlockingPool() { stop(); }

void BlockingPool::stop() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->something.notify_all();
  for (auto& thread : state_->threads) thread.join();
  state_->threads.clear();
  state_->jobs.clear();
}

bool BlockingPool::submit(Loop& home, std::function<void()> job, std::function<void()> done) {
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->stopping || state_->jobs.size() >= kMaxQueued) return false;
    state_->jobs.push_back({&home, std::move(job), std::move(done)});
  }
  state_->something.notify_one();
  return true;
}

}  // namespace herdgate::net

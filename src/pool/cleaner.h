// Brings a returned link back to a state in which anybody may have it: runs the given queries, swallows the answers,
// and gives the link to the pool, or closes it when anything fails or takes too long.
//
// Threads  the worker of its pool.
#pragma once
#include <string>
#include <vector>

#include "pool/pool.h"

namespace herdgate::pool {

class Cleaner final : public backend::LinkUser {
 public:
  Cleaner(Pool& pool, ServerLink& link) : pool_(pool), link_(link) {}
  ~Cleaner() override;
  void start(net::Loop& loop, const std::vector<std::string>& queries);

  void on_rows(backend::Link&, const backend::Debt&, ByteView, bool) override {}
  void on_reply(backend::Link& link, const backend::Debt& head, const backend::Message& message, bool done) override;
  void on_ended(backend::Link& link, const backend::Debt& debt, backend::Ended how) override;
  void on_async(backend::Link&, const backend::Debt*, const backend::Message&) override {}
  void on_chunk_end(backend::Link&) override {}
  void on_drained(backend::Link&) override {}
  void on_lost(backend::Link& link, const Error& why) override;

 private:
  void finish(bool fine);
  Pool& pool_;
  ServerLink& link_;
  net::Loop* loop_ = nullptr;
  net::TimerId timer_ = 0;
  bool failed_ = false, finished_ = false;
};

}  // namespace herdgate::pool

// Cached answers about relations and functions, asked of a server over a link that the session lends.
//
// Shape    lookup() answers from the cache, or says which questions are open; query_for() makes one SQL text that
//          answers them all; learn() takes its rows. The session does the sending (ordinary simple query, swallowed).
// Limits   relcache_size entries per kind of question and database, LRU; kMaxQuestionsPerQuery in one text.
// Errors   Errc::bad_answer when a server's rows are not what was asked for.
// Threads  one Catalog per worker; epochs (raised by DDL through any worker) are shared atomics.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "sql/answers.h"

namespace herdgate::catalog {

// Who asks: the same name may mean different things to different roles and search paths.
struct Viewpoint {
  std::string database, role, search_path;
  bool operator==(const Viewpoint&) const = default;
};

// Raised at the commit of DDL that went through us; every cached answer of an older epoch is dead.
class Epochs {
 public:
  std::uint64_t current(std::string_view database) const;
  void raise(std::string_view database);

 private:
  static constexpr std::size_t kShards = 64;
  std::atomic<std::uint64_t> shards_[kShards]{};
};

struct Found {
  sql::Answers answers;   // whole when `open` is empty
  sql::Questions open;    // what the cache does not know
};

class Catalog {
 public:
  struct Options {
    std::size_t max_entries = 256;
    Duration expire = Duration::zero();   // zero = never
  };
  Catalog(const Clock& clock, const Epochs& epochs, Options options);
  ~Catalog();
  Found lookup(const Viewpoint& who, const sql::Questions& questions);
  // One SELECT whose rows answer the questions; literals are quoted, nothing of a client's text is trusted.
  static std::string query_for(const sql::Questions& questions);
  // rows: the text columns of that SELECT, in order. Temporary tables are never kept (they are a session's own).
  Result<sql::Answers> learn(const Viewpoint& who, const sql::Questions& questions,
                             const std::vector<std::vector<std::string>>& rows);

 private:
  struct Store;
  std::unique_ptr<Store> store_;
};

}  // namespace herdgate::catalog

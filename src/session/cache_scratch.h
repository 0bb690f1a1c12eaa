// What the query cache of a session needs for one call only: lent by the worker, so that sessions by the hundred share
// memory that is at hand.
//
// Shape    CacheRead: a query, or one Execute in a unit that is answered from the cache or kept. CacheScratch: lists of
//          them. LentCacheScratch holds it for one call, and leaves it empty.
// Limits   kMaxKept items of each list keep their room.
// Errors   none.
// Threads  its worker's.
// Source   our own; docs/life_of_a_query.md, "The query cache".
#pragma once
#include <memory>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "cache/store.h"
#include "sql/facts.h"

namespace herdgate::session {

struct CacheRead {
  const sql::Facts* facts = nullptr;
  std::string_view text;
  ByteView types, bind;
  const Hash128* id = nullptr;                  // of the prepared statement; null: it has none
  std::shared_ptr<const sql::Facts> held = {};  // of a text that was parsed in the unit
  bool described = false;
};

// A read that was looked for: what is filed of it if a server's answer is to be kept.
struct CacheLooked {
  std::uint64_t serial = 0;  // of its facts
  Hash128 viewer, text, key;
  bool moment = false;   // a value of its Bind means one
  bool wanted = true;    // worth keeping (cache/admission.h)
  bool shifted = false;  // what stands before it in its unit changes under what it is read
};

struct CacheParsed {  // in the unit
  std::string_view name;
  CacheRead read;
  bool bound = false;
};

struct CacheScratch {
  static constexpr std::size_t kMaxKept = 64;
  std::vector<CacheRead> reads;
  std::vector<CacheParsed> parsed;
  std::vector<CacheLooked> looked;     // the first of the reads
  std::vector<cache::Answer> answers;  // found for the first of them
};

class LentCacheScratch {
 public:
  explicit LentCacheScratch(CacheScratch& scratch) : scratch_(scratch) {}
  ~LentCacheScratch() {
    empty(scratch_.reads);
    empty(scratch_.parsed);
    empty(scratch_.looked);
    empty(scratch_.answers);
  }
  LentCacheScratch(const LentCacheScratch&) = delete;
  LentCacheScratch& operator=(const LentCacheScratch&) = delete;
  CacheScratch* operator->() { return &scratch_; }
  CacheScratch& operator*() { return scratch_; }

 private:
  template <class T>
  static void empty(std::vector<T>& items) {
    items.clear();
    if (items.capacity() > CacheScratch::kMaxKept) std::vector<T>().swap(items);
  }
  CacheScratch& scratch_;
};

}  // namespace herdgate::session

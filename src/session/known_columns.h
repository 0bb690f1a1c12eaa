// What parameters and columns a shared prepared statement had when it was defined, by its interned name. Where it is
// prepared on one more link its session must not be given others unawares: a server would refuse to run it, or keep to
// the types of parameters that it has told.
//
// Limits   kMost names; what is forgotten is not compared.
// Threads  thread-safe; asked only where a statement is prepared on a server.
#pragma once
#include <mutex>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/hash.h"
#include "session/aged_map.h"

namespace herdgate::session {

class KnownColumns {
 public:
  static constexpr std::size_t kMost = 20'000;
  std::optional<Hash128> find(const std::string& name) const;
  void keep(const std::string& name, const Hash128& columns);

 private:
  mutable std::mutex mutex_;
  AgedMap<std::string, Hash128> known_{kMost};
};

// Of RowDescription's payload, "" for NoData: names, types and type modifiers, not the tables they come from; and of
// what hash the ParameterDescription before it had. nullopt: it cannot be read.
std::optional<Hash128> columns_of(const HashKey& key, ByteView payload, const Hash128& parameters);

}  // namespace herdgate::session

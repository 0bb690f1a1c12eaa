// Who a client is, once it is in: what sessions of one kind have in common, kept once for all of them on a worker.
//
// Shape    Identities::share() gives the identity that an earlier session like this one has, or makes it. Who asked
//          with the same packet is found without a search.
// Limits   as many as there are sessions; those of nobody are swept when the table has doubled.
// Threads  one worker.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "auth/credentials.h"
#include "catalog/catalog.h"
#include "pool/pool.h"
#include "session/recent_startups.h"

namespace herdgate::session {

struct Identity {
  std::string user, database, application;
  vsession::ParameterSetPtr startup;    // the parameters of its start-up packet
  auth::Credentials credentials;        // what logs in to servers for this user
  std::vector<pool::KeyPoolPtr> pools;  // by node, as they were needed
  std::size_t epoch_place = 0;          // catalog::Epochs::place(database)
  pool::KeyPoolPtr& key_pool(NodeId node, pool::Pool& pool);
  // What brings a clean link to `startup`; made when first needed.
  const vsession::Replay& from_nothing();

 private:
  std::optional<vsession::Replay> from_nothing_;
};
using IdentityPtr = std::shared_ptr<Identity>;

class Identities {
 public:
  IdentityPtr share(const Asked& asked, const auth::Credentials& credentials);

 private:
  static constexpr std::size_t kFirstSweep = 256;
  using Key = std::tuple<std::string, std::string, std::string, Hash128>;
  std::map<Key, std::weak_ptr<Identity>> known_;
  std::size_t sweep_at_ = kFirstSweep;
};

}  // namespace herdgate::session

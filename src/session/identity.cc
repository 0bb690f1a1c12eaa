#include "session/identity.h"

#include <algorithm>

namespace herdgate::session {
namespace {

// What one of them may do with a server, the other may too.
bool alike(const auth::Credentials& a, const auth::Credentials& b) {
  return a.admitted == b.admitted && auth::same_secret(a, b) && a.keys.client_key == b.keys.client_key;
}

}  // namespace

pool::KeyPoolPtr& Identity::key_pool(NodeId node, pool::Pool& pool) {
  const auto at = static_cast<std::size_t>(node.value);
  if (at >= pools.size()) pools.resize(at + 1);
  if (!pools[at]) pools[at] = pool.key_pool(backend::LinkKey{node, database, user});
  return pools[at];
}

const vsession::Replay& Identity::from_nothing() {
  if (!from_nothing_) from_nothing_ = vsession::replay(vsession::ParameterSet(), *startup);
  return *from_nothing_;
}

IdentityPtr Identities::share(const Asked& asked, const auth::Credentials& credentials) {
  if (IdentityPtr last = asked.identity.lock(); last && alike(last->credentials, credentials)) return last;
  if (known_.size() >= sweep_at_) {
    std::erase_if(known_, [](const auto& entry) { return entry.second.expired(); });
    sweep_at_ = std::max(kFirstSweep, 2 * known_.size());
  }
  std::weak_ptr<Identity>& place =
      known_[{asked.database, asked.user, asked.application, asked.parameters->fingerprint()}];
  IdentityPtr shared = place.lock();
  if (!shared || !alike(shared->credentials, credentials)) {
    shared = std::make_shared<Identity>();
    shared->user = asked.user;
    shared->database = asked.database;
    shared->application = asked.application;
    shared->startup = asked.parameters;
    shared->credentials = credentials;
    shared->epoch_place = catalog::Epochs::place(shared->database);
    place = shared;
  }
  asked.identity = shared;
  return shared;
}

}  // namespace herdgate::session

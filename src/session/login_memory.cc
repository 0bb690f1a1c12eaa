#include "session/login_memory.h"

namespace herdgate::session {

template <class T, class Like>
std::optional<T> LoginMemory::find(Renewing<T>& map, const Like& who, TimePoint now) {
  std::optional<Renewed<T>> found = map.find(who, now);
  if (!found) return std::nullopt;
  if (now < found->renews) return std::move(found->value);
  found->renews = now + kRenewal;
  const TimePoint until = found->until;
  map.put(Who{std::string(who.database), std::string(who.user)}, *std::move(found), until);
  return std::nullopt;
}

template <class T>
void LoginMemory::put(Renewing<T>& map, const Who& who, const T& value, TimePoint now) {
  map.put(who, {value, now + kProofRenews, now + kProofLives}, now + kProofLives);
}

std::optional<auth::ServerMethod> LoginMemory::method(const WhoView& who, TimePoint now) {
  const std::lock_guard lock(mutex_);
  return find(methods_, who, now);
}

std::optional<auth::Credentials> LoginMemory::proved(const Who& who, TimePoint now) {
  const std::lock_guard lock(mutex_);
  return find(proofs_, who, now);
}

void LoginMemory::remember_method(const Who& who, auth::ServerMethod method, TimePoint now) {
  const std::lock_guard lock(mutex_);
  put(methods_, who, method, now);
}

void LoginMemory::remember_proof(const Who& who, const auth::Credentials& credentials, TimePoint now) {
  const std::lock_guard lock(mutex_);
  put(proofs_, who, credentials, now);
}

void LoginMemory::forget(const Who& who) {
  const std::lock_guard lock(mutex_);
  methods_.erase(who);
  proofs_.erase(who);
}

std::optional<auth::StoredSecret> LoginMemory::verifier(const Who& who, TimePoint now) const {
  const std::lock_guard lock(mutex_);
  const auto found = verifiers_.find(who, now);
  if (!found) return std::nullopt;
  return found->secret;
}

void LoginMemory::remember_verifier(const Who& who, const auth::StoredSecret& verifier, TimePoint now) {
  const std::lock_guard lock(mutex_);
  verifiers_.put(who, {verifier, now}, now + (verifier.known() ? kVerifierLives : kMissingLives));
}

void LoginMemory::doubt_verifier(const Who& who, TimePoint now) {
  const std::lock_guard lock(mutex_);
  const auto found = verifiers_.find(who, now);
  if (found && found->secret.known() && now - found->asked >= kVerifierRests) verifiers_.erase(who);
}

LoginMemory::Reported LoginMemory::reported(const WhoView& who, const Hash128& startup) const {
  const std::lock_guard lock(mutex_);
  return reported_.find(ReportedView{startup, who}, TimePoint::min()).value_or(nullptr);
}

void LoginMemory::remember_reported(const std::string& database, const std::string& user, const Hash128& startup,
                                    Reported values) {
  const std::lock_guard lock(mutex_);
  reported_.put(ReportedKey{startup, {database, user}}, std::move(values), TimePoint::max());
}

void LoginMemory::forget_reported() {
  const std::lock_guard lock(mutex_);
  reported_.clear();
}

void LoginMemory::clear() {
  const std::lock_guard lock(mutex_);
  methods_.clear();
  proofs_.clear();
  verifiers_.clear();
  reported_.clear();
}

}  // namespace herdgate::session

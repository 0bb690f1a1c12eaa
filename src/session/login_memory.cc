#include "session/login_memory.h"

namespace herdgate::session {

std::optional<auth::ServerMethod> LoginMemory::method(const Who& who, TimePoint now) const {
  const std::lock_guard lock(mutex_);
  return methods_.find(who, now);
}

std::optional<auth::Credentials> LoginMemory::proved(const Who& who, TimePoint now) const {
  const std::lock_guard lock(mutex_);
  return proofs_.find(who, now);
}

void LoginMemory::remember_method(const Who& who, auth::ServerMethod method, TimePoint now) {
  const std::lock_guard lock(mutex_);
  methods_.put(who, method, now + kProofLives);
}

void LoginMemory::remember_proof(const Who& who, const auth::Credentials& credentials, TimePoint now) {
  const std::lock_guard lock(mutex_);
  proofs_.put(who, credentials, now + kProofLives);
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

LoginMemory::Reported LoginMemory::reported(const std::string& database, const std::string& user,
                                            const Hash128& startup) const {
  const std::lock_guard lock(mutex_);
  return reported_.find({{database, user}, startup}, TimePoint::min()).value_or(nullptr);
}

void LoginMemory::remember_reported(const std::string& database, const std::string& user, const Hash128& startup,
                                    Reported values) {
  const std::lock_guard lock(mutex_);
  reported_.put({{database, user}, startup}, std::move(values), TimePoint::max());
}

void LoginMemory::clear() {
  const std::lock_guard lock(mutex_);
  methods_.clear();
  proofs_.clear();
  verifiers_.clear();
  reported_.clear();
}

}  // namespace herdgate::session

// What earlier logins taught, for the whole process: how a server asks for a user's password, which password a server
// has accepted, what it reports to such a login, and the verifiers that auth_query has fetched.
//
// Shape    find what counts still, remember what was learned, forget what turned out wrong. Times come from the caller.
// Limits   kMaxEntries of each kind. A method and a proof count for kProofLives: so a password that was changed or
//          revoked on the server, or a method changed there, is taken by the proxy no longer than that. From
//          kProofRenews on one login in kRenewal is told that nothing is known, so that it asks the server while the
//          others still get in: a storm of logins never needs a storm of links. A verifier counts for kVerifierLives,
//          "no such user" for kMissingLives; a verifier that a client could not match is fetched again, at most once in
//          kVerifierRests.
// Threads  thread-safe; the lock is held across map operations only.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "auth/credentials.h"
#include "backend/reported.h"
#include "base/hash.h"
#include "session/aged_map.h"

namespace herdgate::session {

class LoginMemory {
 public:
  static constexpr std::size_t kMaxEntries = 4096;
  static constexpr Duration kProofLives = std::chrono::seconds(60), kProofRenews = std::chrono::seconds(45);
  static constexpr Duration kRenewal = std::chrono::seconds(5);
  static constexpr Duration kVerifierLives = std::chrono::seconds(30);
  static constexpr Duration kMissingLives = std::chrono::seconds(5);
  static constexpr Duration kVerifierRests = std::chrono::seconds(1);

  struct Who {
    std::string database, user;
    auto operator<=>(const Who&) const = default;
  };
  // To ask with, without copying: nearly every login finds what it asks for.
  struct WhoView {
    std::string_view database, user;
    friend std::strong_ordering operator<=>(const Who& who, const WhoView& view) {
      const auto order = std::string_view(who.database) <=> view.database;
      return order != 0 ? order : std::string_view(who.user) <=> view.user;
    }
  };
  struct Report {
    Bytes messages;                                  // ParameterStatus, ready to be sent
    std::shared_ptr<const backend::Reported> reads;  // of these: what the client reads texts by
    std::uint64_t epoch = 0;                         // of the servers' settings (pool::Accounts), at the least
    std::vector<std::pair<std::string, std::string>> unusual;  // of these: what a virtual session must be told
    bool superuser = false;
  };
  using Reported = std::shared_ptr<const Report>;

  std::optional<auth::ServerMethod> method(const WhoView& who, TimePoint now);
  std::optional<auth::Credentials> proved(const Who& who, TimePoint now);
  void remember_method(const Who& who, auth::ServerMethod method, TimePoint now);
  void remember_proof(const Who& who, const auth::Credentials& credentials, TimePoint now);
  void forget(const Who& who);

  // What auth_query said of this user; kind none: there is no such user.
  std::optional<auth::StoredSecret> verifier(const Who& who, TimePoint now) const;
  void remember_verifier(const Who& who, const auth::StoredSecret& verifier, TimePoint now);
  // A client did not match it: perhaps the password was changed.
  void doubt_verifier(const Who& who, TimePoint now);

  // ParameterStatus of a login with these start-up parameters.
  Reported reported(const WhoView& who, const Hash128& startup) const;
  void remember_reported(const std::string& database, const std::string& user, const Hash128& startup, Reported values);
  void forget_reported();  // servers tell new logins other values now
  void clear();

 private:
  struct Verifier {
    auth::StoredSecret secret;
    TimePoint asked;
  };
  template <class T>
  struct Renewed {
    T value;
    TimePoint renews, until;
  };
  template <class T>
  using Renewing = AgedMap<Who, Renewed<T>>;
  template <class T, class Like>
  static std::optional<T> find(Renewing<T>& map, const Like& who, TimePoint now);
  template <class T>
  static void put(Renewing<T>& map, const Who& who, const T& value, TimePoint now);
  struct ReportedKey {
    Hash128 startup;
    Who who;
    auto operator<=>(const ReportedKey&) const = default;
  };
  struct ReportedView {
    Hash128 startup;
    WhoView who;
    friend std::strong_ordering operator<=>(const ReportedKey& key, const ReportedView& view) {
      const auto order = key.startup <=> view.startup;
      return order != 0 ? order : key.who <=> view.who;
    }
  };
  mutable std::mutex mutex_;
  Renewing<auth::ServerMethod> methods_{kMaxEntries};
  Renewing<auth::Credentials> proofs_{kMaxEntries};
  AgedMap<Who, Verifier> verifiers_{kMaxEntries};
  AgedMap<ReportedKey, Reported> reported_{kMaxEntries};
};

}  // namespace herdgate::session

// What a server gives a fresh session without being asked: the settings that change answers, of postgresql.conf, ALTER
// DATABASE and ALTER ROLE … SET, as they were at its login. Links of one user and database may differ in them. Pure.
//
// Shape    A link that has set nothing of its own asks defaults_question(); defaults_of() makes a fingerprint of the
//          rows. Two links with different fingerprints may answer differently.
// Units    the fingerprint is of names and values alone: proxies that share a memcached agree on it. 0: not known.
// Limits   kMaxDefaultsBytes of rows; who says more is not known.
// Threads  pure.
// Source   PostgreSQL manual, "Client Connection Defaults", "Version and Platform Compatibility".
#pragma once
#include <cstdint>
#include <string>

#include "base/bytes.h"

namespace herdgate::cache {

inline constexpr std::size_t kMaxDefaultsBytes = 64 << 10;

// Takes milliseconds of nobody: some forty settings, and those of extensions and applications (app.tenant) that an
// ALTER has set.
const std::string& defaults_question();
std::uint64_t defaults_of(ByteView rows);
// REPEATABLE READ or SERIALIZABLE is in force where a session does not say otherwise.
inline bool give_one_snapshot(std::uint64_t defaults) { return (defaults & 1) != 0; }

}  // namespace herdgate::cache

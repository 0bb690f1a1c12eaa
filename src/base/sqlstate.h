// The SQLSTATEs that Herdgate itself sends or acts upon, once. Five characters, from PostgreSQL's Appendix A.
#pragma once
#include <string_view>

namespace herdgate::sqlstate {
inline constexpr std::string_view kSuccess = "00000";
inline constexpr std::string_view kWarning = "01000";
inline constexpr std::string_view kConnectionFailure = "08006";
inline constexpr std::string_view kOutcomeUnknown = "08007";
inline constexpr std::string_view kProtocolViolation = "08P01";
inline constexpr std::string_view kFeatureNotSupported = "0A000";
inline constexpr std::string_view kInvalidParameterValue = "22023";
inline constexpr std::string_view kReadOnlyTransaction = "25006";
inline constexpr std::string_view kInFailedTransaction = "25P02";
inline constexpr std::string_view kIdleInTransactionTimeout = "25P03";
inline constexpr std::string_view kTransactionTimeout = "25P04";
inline constexpr std::string_view kInvalidStatementName = "26000";
inline constexpr std::string_view kInvalidAuthorization = "28000";
inline constexpr std::string_view kInvalidPassword = "28P01";
inline constexpr std::string_view kInvalidSavepoint = "3B001";
inline constexpr std::string_view kSerializationFailure = "40001";
inline constexpr std::string_view kInsufficientPrivilege = "42501";
inline constexpr std::string_view kSyntaxError = "42601";
inline constexpr std::string_view kUndefinedObject = "42704";
inline constexpr std::string_view kDuplicatePreparedStatement = "42P05";
inline constexpr std::string_view kTooManyConnections = "53300";
inline constexpr std::string_view kProgramLimitExceeded = "54000";
inline constexpr std::string_view kObjectNotInPrerequisiteState = "55000";
inline constexpr std::string_view kQueryCanceled = "57014";
inline constexpr std::string_view kAdminShutdown = "57P01";
inline constexpr std::string_view kCrashShutdown = "57P02";
inline constexpr std::string_view kCannotConnectNow = "57P03";
inline constexpr std::string_view kIdleSessionTimeout = "57P05";
inline constexpr std::string_view kSystemError = "58000";
inline constexpr std::string_view kInternalError = "XX000";

// By its class: the same statement may succeed in a moment. Conflicts, shortages, locks, an operator, the system.
inline bool passes(std::string_view state) {
  for (const std::string_view of : {"40", "53", "55", "57", "58"})
    if (state.starts_with(of)) return true;
  return false;
}
}  // namespace herdgate::sqlstate

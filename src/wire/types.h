// Message types of the PostgreSQL protocol, once: letter, direction, name.
//
// Source   PostgreSQL manual, "Frontend/Backend Protocol", section "Message Formats".
#pragma once
#include <cstdint>
#include <string_view>

namespace herdgate::wire {

// Sent by clients.
namespace fe {
inline constexpr char kBind = 'B', kClose = 'C', kCopyData = 'd', kCopyDone = 'c', kCopyFail = 'f', kDescribe = 'D',
                      kExecute = 'E', kFlush = 'H', kFunctionCall = 'F', kParse = 'P', kPassword = 'p', kQuery = 'Q',
                      kSync = 'S', kTerminate = 'X';
}
// Sent by servers.
namespace be {
inline constexpr char kAuthentication = 'R', kBackendKeyData = 'K', kBindComplete = '2', kCloseComplete = '3',
                      kCommandComplete = 'C', kCopyData = 'd', kCopyDone = 'c', kCopyIn = 'G', kCopyOut = 'H',
                      kCopyBoth = 'W', kDataRow = 'D', kEmptyQuery = 'I', kError = 'E', kFunctionResult = 'V',
                      kNegotiate = 'v', kNoData = 'n', kNotice = 'N', kNotification = 'A', kParameterDescription = 't',
                      kParameterStatus = 'S', kParseComplete = '1', kPortalSuspended = 's', kReady = 'Z',
                      kRowDescription = 'T';
}
// "Parse", "CommandComplete": as log_client_messages and log_backend_messages print them; "" for an unknown letter.
std::string_view frontend_name(char type);
std::string_view backend_name(char type);

inline constexpr std::size_t kHeaderBytes = 5;            // type letter and length
inline constexpr std::uint32_t kMaxMessage = 0x3fffffff;  // what PostgreSQL itself takes (1 GB − 1)
inline constexpr std::uint32_t kMaxStartup = 10'000;      // MAX_STARTUP_PACKET_LENGTH

}  // namespace herdgate::wire

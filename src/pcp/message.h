// PCP messages: bytes ⇄ values, for the server and for our clients. Pure: no sockets, no clock.
//
// Shape    A frame is a letter, a length and a payload of texts that end in NUL. Request is what a client may ask;
//          replies are frames of texts, made by put_done() and put_row() and taken apart by texts().
// Units    octets; the length is big-endian and counts itself (4), not the letter. Numbers are decimal text.
// Limits   a request's length is below kRequestLimit, a reply's below kReplyLimit.
// Errors   Errc::bad_length (context: the number), unknown_request (context: the letter), bad_payload.
// Threads  pure.
// Source   Pgpool-II 4.6: its clients and server were listened to; manual, "PCP Commands".
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace herdgate::pcp {

inline constexpr std::size_t kHeaderBytes = 5, kLengthBytes = 4;
inline constexpr std::size_t kRequestLimit = 260;
inline constexpr std::size_t kReplyLimit = 16u << 20;
inline constexpr std::size_t kSaltBytes = 4;
inline constexpr std::size_t kMaxUserBytes = 127;
inline constexpr std::size_t kMaxNameBytes = kRequestLimit - kLengthBytes - 2;  // what one text has room for

struct Frame {
  char letter = 0;
  ByteView payload;
  std::size_t whole_bytes = 0;  // header included
};
// The frame at the front; nullopt: it is not whole yet. `limit`: what the length must be below.
Result<std::optional<Frame>> first_frame(ByteView input, std::size_t limit);
void put_frame(Bytes& out, char letter, ByteView payload);

// The letters of requests. Those of pause and resume are ours: Pgpool-II uses them neither in requests nor in replies,
// and answers them with a FATAL error that names the letter.
enum class Ask : char {
  salt = 'M',
  login = 'R',
  set_parameter = 'A',
  pool_status = 'B',
  attach = 'C',
  detach = 'D',
  detach_gracefully = 'd',
  stop_recovery = 'F',
  drop_cache = 'G',
  health_check_stats = 'H',
  node_info = 'I',
  promote = 'J',
  promote_gracefully = 'j',
  node_count = 'L',
  process_count = 'N',
  recover = 'O',
  process_info = 'P',
  stop = 'T',
  stop_cluster = 't',
  rotate_log = 'V',
  watchdog_info = 'W',
  reload = 'Z',
  bye = 'X',
  pause = 'U',
  resume = 'Y',
};
// What the option of a request may be.
namespace option {
inline constexpr char kSmart = 's', kFast = 'f', kImmediate = 'i';  // stop, stop_cluster
inline constexpr char kCluster = 'c', kLocal = 'l';                 // reload, rotate_log
inline constexpr char kSwitchover = 's', kRoleOnly = 'n';           // promote
}  // namespace option

struct Request {
  Ask ask = Ask::bye;
  int number = 0;  // node, process or watchdog node; -1: all nodes
  char option = 0;
  // login: user and proof; set_parameter: parameter and value; pause, resume: the database, "" = all of them
  std::string name, value;
  bool operator==(const Request&) const = default;
};
Result<Request> parse_request(const Frame& frame);
void put_request(Bytes& out, const Request& request);
std::string describe(const Request& request);  // "detach node 1", for the log

// The letter that answers; they differ from the question's for promote and recover.
char reply_letter(Ask ask);

// The end of an answer: "CommandComplete" and what belongs to it.
void put_done(Bytes& out, char letter, std::span<const std::string> values = {});
// One of several frames of an answer.
void put_row(Bytes& out, char letter, std::string_view tag, std::span<const std::string> values);

// How the detail of the refusal of a letter begins that the server does not know, ours and the original's.
inline constexpr std::string_view kUnknownRequest = "unknown PCP packet type";

inline constexpr std::string_view kDone = "CommandComplete";
inline constexpr std::string_view kArraySize = "ArraySize";
inline constexpr std::string_view kNodeInfo = "NodeInfo";
inline constexpr std::string_view kProcessInfo = "ProcessInfo";
inline constexpr std::string_view kProcessConfig = "ProcessConfig";
inline constexpr std::string_view kLoggedIn = "AuthenticationOK";

// The texts of a payload. A last one without its NUL counts too.
std::vector<std::string_view> texts(ByteView payload);
std::optional<int> number_of(std::string_view text);

// An ErrorResponse or a notice.
struct Trouble {
  std::string severity = "ERROR", message, detail, hint, sqlstate = "XX000";
  bool fatal() const { return severity == "FATAL" || severity == "PANIC"; }
  bool operator==(const Trouble&) const = default;
};
void put_trouble(Bytes& out, const Trouble& trouble);
Trouble parse_trouble(ByteView payload);

// What proves a password: stored = hexmd5(password), as pcp.conf has it.
Result<std::string> login_proof(std::string_view stored, std::string_view user, ByteView salt);

}  // namespace herdgate::pcp

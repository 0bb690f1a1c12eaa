/* One question to a PCP server; see pcp_link.h. */
#include "pcp_link.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/md5.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "storage/latch.h"
#if PG_VERSION_NUM >= 140000
#include "utils/wait_event.h"
#endif

enum {
  kHeaderBytes = 5,
  kLengthBytes = 4,
  kSaltBytes = 4,
  kDigestBytes = 32,
  kMaxAddresses = 8,
  kBusySocketMilliseconds = 20, /* between two knocks at a UNIX socket whose queue is full */
};

typedef struct Link {
  const PcpServer* server;
  const PcpQuestion* question;
  int fd; /* -1: none */
  int64 end_ms;
  int limit_ms; /* the one that end_ms is the end of, and its name */
  const char* limit_name;
  size_t received;
} Link;

typedef struct Address {
  struct sockaddr_storage name;
  socklen_t length;
} Address;

static bool is_local(const PcpServer* server) { return *server->host == '\0' || *server->host == '/'; }

static char* socket_path(const PcpServer* server) {
  return psprintf("%s/.s.PGSQL.%d", *server->host ? server->host : kPcpDefaultFolder, server->port);
}

char* pcp_place(const PcpServer* server) {
  if (is_local(server)) return psprintf("socket \"%s\"", socket_path(server));
  return psprintf("host \"%s\", port %d", server->host, server->port);
}

/* ---- failures */

static int where_to_look(const Link* link) {
  if (is_local(link->server)) return errhint("Check that pgpool runs, its pcp_socket_dir and its pcp_port.");
  return errhint("Check that pgpool runs there, its pcp_listen_addresses and its pcp_port.");
}

static void no_connection(const Link* link, const char* why) {
  ereport(ERROR,
          (errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
           errmsg("could not connect to the PCP server at %s: %s", pcp_place(link->server), why), where_to_look(link)));
}

static int what_is_known(const Link* link) {
  if (link->question->changes)
    return errhint("Whether it was done is not known: SHOW POOL_NODES tells. The limit is %s.", link->limit_name);
  return errhint("Check that this is a PCP server that works. The limit is %s.", link->limit_name);
}

static void too_late(const Link* link) {
  ereport(ERROR, (errcode(ERRCODE_CONNECTION_FAILURE),
                  errmsg("could not %s: the PCP server at %s did not answer within %d ms", link->question->words,
                         pcp_place(link->server), link->limit_ms),
                  what_is_known(link)));
}

static void gone(const Link* link, const char* how) {
  ereport(ERROR, (errcode(ERRCODE_CONNECTION_FAILURE),
                  errmsg("could not %s: the PCP server at %s %s", link->question->words, pcp_place(link->server), how),
                  errhint("Its log may say why.")));
}

static void no_pcp(const Link* link, const char* detail) {
  ereport(ERROR, (errcode(ERRCODE_PROTOCOL_VIOLATION),
                  errmsg("could not %s: what answers at %s does not speak PCP", link->question->words,
                         pcp_place(link->server)),
                  errdetail("%s", detail), where_to_look(link)));
}

/* ---- time */

static int64 now_ms(void) {
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void begin_limit(Link* link, int limit_ms, const char* name) {
  link->limit_ms = limit_ms;
  link->limit_name = name;
  link->end_ms = now_ms() + limit_ms;
}

/* Milliseconds until `end_ms`, 0 when it is over. A peer that never stops sending does not keep a cancel away. */
static long left_until(int64 end_ms) {
  CHECK_FOR_INTERRUPTS();
  return (long)Max(end_ms - now_ms(), 0);
}

/* Returns false when `end_ms` came first. Ends at a cancel and with the postmaster. */
static bool wait_until(Link* link, int events, int64 end_ms) {
  for (;;) {
    long left = left_until(end_ms);
    int what;

    if (left == 0) return false;
    what = WaitLatchOrSocket(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH | events, link->fd, left,
                             PG_WAIT_EXTENSION);
    if (what & WL_LATCH_SET) ResetLatch(MyLatch);
    if (what & events) return true;
  }
}

/* ---- the socket */

static void close_link(Link* link) {
  if (link->fd < 0) return;
  close(link->fd);
#if PG_VERSION_NUM >= 130000
  ReleaseExternalFD();
#endif
  link->fd = -1;
}

/* False: errno says why. The backend's own files make room for it. */
static bool open_socket(Link* link, int family) {
#if PG_VERSION_NUM >= 130000
  if (!AcquireExternalFD()) return false;
#endif
  link->fd = socket(family, SOCK_STREAM, 0);
  if (link->fd < 0) {
#if PG_VERSION_NUM >= 130000
    int why = errno;

    ReleaseExternalFD();
    errno = why;
#endif
    return false;
  }
  return fcntl(link->fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(link->fd, F_SETFL, O_NONBLOCK) == 0;
}

/* A UNIX socket whose queue is full has nothing to wait for: it is tried again. */
static bool knock(Link* link, const Address* address, int64 end_ms) {
  while (connect(link->fd, (const struct sockaddr*)&address->name, address->length) != 0) {
    if (errno != EAGAIN) return false;
    if (left_until(end_ms) == 0) {
      errno = ETIMEDOUT;
      return false;
    }
    if (WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, kBusySocketMilliseconds,
                  PG_WAIT_EXTENSION) &
        WL_LATCH_SET)
      ResetLatch(MyLatch);
  }
  return true;
}

/* False: errno says why, and there is no socket. */
static bool try_address(Link* link, const Address* address, int64 end_ms) {
  int why = 0;
  socklen_t length = sizeof(why);

  if (open_socket(link, address->name.ss_family)) {
    if (knock(link, address, end_ms)) return true;
    why = errno;
    if (why == EINPROGRESS || why == EINTR) {
      if (!wait_until(link, WL_SOCKET_CONNECTED, end_ms))
        why = ETIMEDOUT;
      else if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &why, &length) != 0)
        why = errno;
      if (why == 0) return true;
    }
  } else {
    why = errno;
  }
  close_link(link);
  errno = why;
  return false;
}

static int find_local(Link* link, Address* out) {
  struct sockaddr_un* name = (struct sockaddr_un*)&out->name;
  char* path = socket_path(link->server);

  if (strlen(path) >= sizeof(name->sun_path)) no_connection(link, "the path is too long");
  name->sun_family = AF_UNIX;
  strcpy(name->sun_path, path);
  out->length = sizeof(*name);
  return 1;
}

/* Nothing is raised while the resolver's list is held. */
static int find_remote(Link* link, Address* out) {
  struct addrinfo hints, *found = NULL, *each;
  char port[16];
  int count = 0, bad;

  memset(&hints, 0, sizeof(hints));
  hints.ai_socktype = SOCK_STREAM;
  snprintf(port, sizeof(port), "%d", link->server->port);
  bad = getaddrinfo(link->server->host, port, &hints, &found);
  if (bad != 0) no_connection(link, gai_strerror(bad));
  for (each = found; each != NULL && count < kMaxAddresses; each = each->ai_next) {
    if (each->ai_addrlen > sizeof(out->name)) continue;
    memcpy(&out[count].name, each->ai_addr, each->ai_addrlen);
    out[count++].length = each->ai_addrlen;
  }
  freeaddrinfo(found);
  return count;
}

/* Each address gets its share of the time, so that one that swallows everything leaves some to the next. */
static void open_link(Link* link) {
  Address addresses[kMaxAddresses];
  int count, i;
  char why[128] = "it has no address";

  memset(addresses, 0, sizeof(addresses));
  count = is_local(link->server) ? find_local(link, addresses) : find_remote(link, addresses);
  for (i = 0; i < count; ++i) {
    if (try_address(link, &addresses[i], now_ms() + left_until(link->end_ms) / (count - i))) return;
    snprintf(why, sizeof(why), "%s", strerror(errno));
  }
  no_connection(link, why);
}

/* A server that has refused us closes; what it said before is still to be read, so its absence is no failure here. */
static void send_all(Link* link, const char* bytes, size_t count) {
  while (count > 0) {
    ssize_t sent = send(link->fd, bytes, count, MSG_NOSIGNAL);

    if (sent >= 0) {
      bytes += sent;
      count -= sent;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (!wait_until(link, WL_SOCKET_WRITEABLE, link->end_ms)) too_late(link);
    } else if (errno == EPIPE || errno == ECONNRESET) {
      return;
    } else if (errno != EINTR) {
      gone(link, psprintf("cannot be written to: %s", strerror(errno)));
    }
  }
}

static void receive(Link* link, char* out, size_t count) {
  while (count > 0) {
    ssize_t got;

    if (left_until(link->end_ms) == 0) too_late(link);
    got = recv(link->fd, out, count, 0);
    if (got > 0) {
      out += got;
      count -= got;
    } else if (got == 0) {
      gone(link, "closed the connection");
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (!wait_until(link, WL_SOCKET_READABLE, link->end_ms)) too_late(link);
    } else if (errno != EINTR) {
      gone(link, psprintf("cannot be read from: %s", strerror(errno)));
    }
  }
}

/* ---- frames */

typedef struct Frame {
  char letter;
  uint32 count;
  char* bytes; /* with a NUL behind them */
} Frame;

static void send_frame(Link* link, char letter, const char* bytes, size_t count) {
  StringInfoData out;
  uint32 length = htonl((uint32)(kLengthBytes + count));

  initStringInfo(&out);
  appendStringInfoChar(&out, letter);
  appendBinaryStringInfo(&out, (const char*)&length, sizeof(length));
  if (count > 0) appendBinaryStringInfo(&out, bytes, (int)count);
  send_all(link, out.data, out.len);
  pfree(out.data);
}

static char* letter_words(char letter) {
  return letter > ' ' && letter < 127 ? psprintf("\"%c\"", letter) : psprintf("0x%02x", (unsigned char)letter);
}

static Frame receive_frame(Link* link) {
  char header[kHeaderBytes];
  uint32 length;
  Frame out;

  receive(link, header, sizeof(header));
  memcpy(&length, header + 1, sizeof(length));
  length = ntohl(length);
  if (length < kLengthBytes || length > kPcpFrameBytes)
    no_pcp(link, psprintf("A message %s with a length of %u came.", letter_words(header[0]), length));
  link->received += length;
  if (link->received > kPcpAnswerBytes) no_pcp(link, psprintf("The answer is longer than %d bytes.", kPcpAnswerBytes));
  out.letter = header[0];
  out.count = length - kLengthBytes;
  out.bytes = palloc(out.count + 1);
  receive(link, out.bytes, out.count);
  out.bytes[out.count] = '\0';
  return out;
}

/* A client must not be given bytes that are no text of the database. */
static char* clean(char* text) {
  char* each;

  if (!pg_verify_mbstr(GetDatabaseEncoding(), text, (int)strlen(text), true))
    for (each = text; *each; ++each)
      if (IS_HIGHBIT_SET(*each)) *each = '?';
  return text;
}

/* Cuts at each NUL; a last text without one counts too. */
static PcpTexts* texts_of(Link* link, const Frame* frame) {
  PcpTexts* out = palloc0(sizeof(PcpTexts));
  char *each = frame->bytes, *end = frame->bytes + frame->count;

  for (; each < end; each += strlen(each) + 1) {
    if (out->count == kPcpTexts) no_pcp(link, psprintf("A message with more than %d texts came.", kPcpTexts));
    out->text[out->count++] = each;
  }
  return out;
}

static void clean_all(PcpTexts* texts) {
  int i;

  for (i = 0; i < texts->count; ++i) clean(texts->text[i]);
}

/* What an ErrorResponse says: texts whose first letter tells which they are. */
static const char* part_of(const PcpTexts* texts, char letter) {
  int i;

  for (i = 0; i < texts->count; ++i)
    if (texts->text[i][0] == letter && texts->text[i][1] != '\0') return texts->text[i] + 1;
  return NULL;
}

static void refused(Link* link, const Frame* frame, bool at_login) {
  PcpTexts* texts = texts_of(link, frame);
  const char *message, *detail, *hint;

  clean_all(texts);
  message = part_of(texts, 'M');
  detail = part_of(texts, 'D');
  hint = part_of(texts, 'H');
  if (message == NULL) no_pcp(link, "An error without a message came.");
  if (at_login && hint == NULL) hint = "Check the user name and the password against the pcp.conf of that server.";
  ereport(ERROR, (errcode(at_login ? ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION : ERRCODE_EXTERNAL_ROUTINE_EXCEPTION),
                  at_login ? errmsg("could not log in to the PCP server at %s: %s", pcp_place(link->server), message)
                           : errmsg("could not %s: %s", link->question->words, message),
                  detail ? errdetail("%s", detail) : 0, hint ? errhint("%s", hint) : 0));
}

/* ---- login */

static void digest(Link* link, const void* bytes, size_t count, char* out) {
  const char* why = "out of memory";
  bool good;

#if PG_VERSION_NUM >= 150000
  good = pg_md5_hash(bytes, count, out, &why);
#else
  good = pg_md5_hash(bytes, count, out);
#endif
  if (!good)
    ereport(ERROR, (errmsg("could not log in to the PCP server at %s: no MD5: %s", pcp_place(link->server), why),
                    errhint("PCP knows no other login. A library that keeps to FIPS may have MD5 switched off.")));
}

/* hexmd5(hexmd5(hexmd5(password) + user) + salt) */
static void log_in(Link* link) {
  const PcpServer* server = link->server;
  char hex[kDigestBytes + 1], mixed[kDigestBytes + kPcpUserBytes + 1];
  size_t user_bytes = strlen(server->user);
  Frame frame;
  StringInfoData login;

  send_frame(link, 'M', NULL, 0);
  frame = receive_frame(link);
  if (frame.letter == 'E') refused(link, &frame, true);
  if (frame.letter != 'm' || frame.count != kSaltBytes)
    no_pcp(link,
           psprintf("A message %s of %u bytes came in place of a challenge.", letter_words(frame.letter), frame.count));
  digest(link, server->password, strlen(server->password), hex);
  memcpy(mixed, hex, kDigestBytes);
  memcpy(mixed + kDigestBytes, server->user, user_bytes);
  digest(link, mixed, kDigestBytes + user_bytes, hex);
  memcpy(mixed, hex, kDigestBytes);
  memcpy(mixed + kDigestBytes, frame.bytes, kSaltBytes);
  digest(link, mixed, kDigestBytes + kSaltBytes, hex);
  initStringInfo(&login);
  appendBinaryStringInfo(&login, server->user, (int)user_bytes + 1);
  appendBinaryStringInfo(&login, hex, kDigestBytes + 1);
  send_frame(link, 'R', login.data, login.len);
  frame = receive_frame(link);
  if (frame.letter == 'E') refused(link, &frame, true);
  if (frame.letter != 'r' || strcmp(frame.bytes, "AuthenticationOK") != 0)
    no_pcp(link, psprintf("A message %s came in answer to the login.", letter_words(frame.letter)));
}

/* ---- questions */

static PcpTexts* without_tag(PcpTexts* texts) {
  memmove(texts->text, texts->text + 1, (texts->count - 1) * sizeof(texts->text[0]));
  --texts->count;
  clean_all(texts);
  return texts;
}

/* Returns true when the answer is whole. */
static bool take_frame(Link* link, const Frame* frame, PcpAnswer* answer) {
  const char *tag = frame->bytes, *expected = NULL;
  char letter = (char)pg_tolower((unsigned char)link->question->letter);

  if (frame->letter == 'E') refused(link, frame, false);
  if (frame->letter == 'N' && *tag == 'S') return false; /* a notice */
  if (frame->letter != letter)
    no_pcp(link, psprintf("A message %s came in answer to a %s.", letter_words(frame->letter),
                          letter_words(link->question->letter)));
  if (strcmp(tag, "ArraySize") == 0) return false; /* the rows are counted as they come */
  if (strcmp(tag, "CommandComplete") == 0) {
    answer->done = without_tag(texts_of(link, frame));
    return true;
  }
  if (letter == 'b') expected = "ProcessConfig";
  if (letter == 'i') expected = "NodeInfo";
  if (expected == NULL || strcmp(tag, expected) != 0)
    no_pcp(link, psprintf("A message %s without a tag that belongs to it came.", letter_words(frame->letter)));
  if (list_length(answer->rows) >= kPcpRows) no_pcp(link, psprintf("More than %d rows came.", kPcpRows));
  answer->rows = lappend(answer->rows, without_tag(texts_of(link, frame)));
  return false;
}

static PcpAnswer* converse(Link* link) {
  const PcpQuestion* question = link->question;
  PcpAnswer* answer = palloc0(sizeof(PcpAnswer));
  char number[16];
  Frame frame;

  begin_limit(link, link->server->limits.connect_ms, "pgpool_adm.connect_timeout");
  open_link(link);
  log_in(link);
  begin_limit(link, link->server->limits.reply_ms, "pgpool_adm.reply_timeout");
  link->received = 0;
  snprintf(number, sizeof(number), "%d", question->number);
  send_frame(link, question->letter, number, question->has_number ? strlen(number) + 1 : 0);
  do frame = receive_frame(link);
  while (!take_frame(link, &frame, answer));
  return answer;
}

static void check_server(const PcpServer* server) {
  if (server->port < 1 || server->port > 65535)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("port %d is out of range", server->port),
                    errhint("It is the server's pcp_port, between 1 and 65535.")));
  if (strlen(server->user) > kPcpUserBytes)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("the PCP user name is too long"),
                    errdetail("It has more than %d bytes.", kPcpUserBytes)));
}

PcpAnswer* pcp_ask(const PcpServer* server, const PcpQuestion* question) {
  static const char kBye[] = {'X', 0, 0, 0, kLengthBytes};
  Link* link = palloc0(sizeof(Link));
  PcpAnswer* volatile answer = NULL;

  check_server(server);
  link->server = server;
  link->question = question;
  link->fd = -1;
  PG_TRY();
  { answer = converse(link); }
  PG_CATCH();
  {
    close_link(link);
    PG_RE_THROW();
  }
  PG_END_TRY();
  if (send(link->fd, kBye, sizeof(kBye), MSG_NOSIGNAL) < 0) {
    /* a courtesy: the server sees the end of the connection too */
  }
  close_link(link);
  return answer;
}

/*
 * One question to a PCP server, from inside a backend: connect, log in, ask, take the answer, leave.
 *
 * Shape    pcp_ask() returns the whole answer, in the current memory context, with the socket closed.
 * Units    octets; the length of a frame is big-endian and counts itself (4), not the letter. Limits of time are
 *          milliseconds.
 * Limits   PcpLimits bound connecting with login, and asking with answering; a cancelled query ends every wait, except
 *          that for the system's resolver when `host` is a name, which ends as the resolver ends. A frame is at most
 *          kPcpFrameBytes, an answer kPcpAnswerBytes and kPcpRows rows of at most kPcpTexts texts.
 * Errors   by ereport: 08001 no connection, 28000 login refused, 08006 silent or gone, 08P01 no PCP, 38000 refused by
 *          the server, 22023 arguments. The socket is closed before the error goes on.
 * Threads  a backend has one.
 * Source   src/pcp/message.h, which says what PCP is.
 */
#ifndef PCP_LINK_H
#define PCP_LINK_H

#include "postgres.h"

#include "nodes/pg_list.h"

enum {
  kPcpFrameBytes = 1 << 20,
  kPcpAnswerBytes = 16 << 20,
  kPcpRows = 10000,
  kPcpTexts = 64,
  kPcpUserBytes = 127,
};
#define kPcpDefaultFolder "/tmp"

typedef struct PcpLimits {
  int connect_ms, reply_ms;
} PcpLimits;

/* host: an address, a name, or the folder of a UNIX socket ("" is kPcpDefaultFolder). */
typedef struct PcpServer {
  const char *host, *user, *password;
  int port;
  PcpLimits limits;
} PcpServer;

/* number goes with the question when has_number; words say what is done ("attach node 1") and stand behind "could not".
 */
typedef struct PcpQuestion {
  char letter;
  bool has_number, changes;
  int number;
  const char* words;
} PcpQuestion;

typedef struct PcpTexts {
  int count;
  char* text[kPcpTexts]; /* in the database's encoding; bytes that are none became '?' */
} PcpTexts;

typedef struct PcpAnswer {
  List* rows;     /* of PcpTexts*, without their tag */
  PcpTexts* done; /* what followed CommandComplete */
} PcpAnswer;

extern PcpAnswer* pcp_ask(const PcpServer* server, const PcpQuestion* question);

/* For errors: where a server is. */
extern char* pcp_place(const PcpServer* server);

#endif

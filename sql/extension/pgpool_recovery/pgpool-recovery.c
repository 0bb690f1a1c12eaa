/*
 * What the proxy asks of a server beyond SQL: run a script of online recovery, stop or restart the server, restart it
 * as a standby, switch to a new WAL segment.
 *
 * Shape    SQL functions. A script is a file of the data directory, run directly with its arguments: no shell reads
 *          them. It is waited for, its standard error is passed on to the server's log and, when it fails, reported.
 *          A restart is done by pg_ctl in a process of its own, because the session that asked ends with the server.
 * Limits   kTailBytes of a script's standard error are reported; a cancelled query ends its script; pg_ctl waits
 *          kStopWaitSeconds for the server to end; pgpool_switch_xlog() waits kArchiveWaitSeconds.
 * Errors   by ereport. Only superusers may call, whatever was granted.
 * Threads  a backend has one.
 * Source   PostgreSQL manual, "C-Language Functions", "pg_ctl", "Hot Standby"; PostgreSQL 12 and later.
 */
#include "postgres.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "access/xlog.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/syslogger.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#if PG_VERSION_NUM >= 140000
#include "utils/wait_event.h"
#endif

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(pgpool_recovery);
PG_FUNCTION_INFO_V1(pgpool_remote_start);
PG_FUNCTION_INFO_V1(pgpool_pgctl);
PG_FUNCTION_INFO_V1(pgpool_switch_xlog);
PG_FUNCTION_INFO_V1(pgpool_restart_as_standby);
void _PG_init(void);

/* kNodeArgument: the one argument of pgpool_recovery() that is a number. */
enum { kMaxArguments = 12, kNodeArgument = 4, kTailBytes = 1000, kPollMilliseconds = 100, kArchiveWaitSeconds = 3600 };
#define kStopWaitSeconds "3600"

static char* pg_ctl_path = NULL;

void _PG_init(void) {
  DefineCustomStringVariable("pgpool.pg_ctl", "Path of pg_ctl; empty: the one beside the server's program.", NULL,
                             &pg_ctl_path, "", PGC_SIGHUP, 0, NULL, NULL, NULL);
}

static void superusers_only(void) {
  if (!superuser())
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("only superusers may control the server")));
}

/* ---- a child process */

/* In the child: nothing of the backend's is left open or blocked. Only what is safe after fork() is called. */
static void become(char** arguments, int error_fd) {
  sigset_t none;
  int number, fd;

  for (number = 1; number < NSIG; ++number)
    if (number != SIGKILL && number != SIGSTOP) signal(number, SIG_DFL);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  for (fd = 3; fd < 65536; ++fd)
    if (fd != error_fd) close(fd);
  fd = open("/dev/null", O_RDONLY);
  if (fd >= 0 && fd != STDIN_FILENO) {
    dup2(fd, STDIN_FILENO);
    close(fd);
  }
  execv(arguments[0], arguments);
}

typedef struct Child {
  pid_t pid;
  int output; /* its standard error */
  int status;
  bool ended;
  char tail[kTailBytes + 1]; /* the end of what it wrote there */
  size_t tail_length;
} Child;

static void keep_tail(Child* child, const char* bytes, size_t count) {
  size_t over;

  if (count > kTailBytes) {
    bytes += count - kTailBytes;
    count = kTailBytes;
  }
  over = child->tail_length + count > kTailBytes ? child->tail_length + count - kTailBytes : 0;
  memmove(child->tail, child->tail + over, child->tail_length - over);
  memcpy(child->tail + child->tail_length - over, bytes, count);
  child->tail_length += count - over;
  child->tail[child->tail_length] = '\0';
}

/* What there is to read now goes to the server's log as well. */
static void read_output(Child* child) {
  char bytes[1024];
  ssize_t count;

  while ((count = read(child->output, bytes, sizeof(bytes))) > 0) {
    if (write(STDERR_FILENO, bytes, count) < 0) {
      /* a log that cannot be written is no reason to fail */
    }
    keep_tail(child, bytes, count);
  }
}

/* A process group of its own, so that the whole script can be ended. */
static void start_child(Child* child, char** arguments) {
  int ends[2];

  memset(child, 0, sizeof(*child));
  if (pipe(ends) != 0) ereport(ERROR, (errcode_for_file_access(), errmsg("could not create a pipe: %m")));
  fflush(NULL);
  child->pid = fork();
  if (child->pid == 0) {
    setpgid(0, 0);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
    become(arguments, -1);
    dprintf(STDERR_FILENO, "could not run it: %s", strerror(errno));
    _exit(127);
  }
  close(ends[1]);
  child->output = ends[0];
  if (child->pid < 0) {
    close(ends[0]);
    ereport(ERROR, (errmsg("could not start \"%s\": %m", arguments[0])));
  }
  setpgid(child->pid, child->pid);
  fcntl(child->output, F_SETFL, O_NONBLOCK);
}

/* A process that the script left behind may hold the pipe: the script's own end is what is waited for. */
static void wait_for_child(Child* child) {
  while (!child->ended) {
    pid_t got = waitpid(child->pid, &child->status, WNOHANG);

    child->ended = got == child->pid || (got < 0 && errno != EINTR);
    read_output(child);
    if (child->ended) break;
    CHECK_FOR_INTERRUPTS();
    (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, kPollMilliseconds, PG_WAIT_EXTENSION);
    ResetLatch(MyLatch);
  }
}

static void end_child(Child* child) {
  if (!child->ended) {
    kill(-child->pid, SIGTERM);
    waitpid(child->pid, &child->status, 0);
    child->ended = true;
  }
  close(child->output);
}

static void trim(char* text) {
  size_t length = strlen(text);

  while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == ' ')) text[--length] = '\0';
}

static void report_failure(const char* what, Child* child) {
  const char* last;
  char* how = WIFSIGNALED(child->status) ? psprintf("was killed by signal %d", WTERMSIG(child->status))
                                         : psprintf("ended with exit code %d", WEXITSTATUS(child->status));

  trim(child->tail);
  /* A client must not be given bytes that are no text of the database; the log has them. */
  if (!pg_verify_mbstr(GetDatabaseEncoding(), child->tail, (int)strlen(child->tail), true)) child->tail[0] = '\0';
  last = strrchr(child->tail, '\n');
  last = last ? last + 1 : child->tail;
  ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION), errmsg("%s %s%s%s", what, how, *last ? ": " : "", last),
                  *child->tail ? errdetail("Its standard error ends: %s", child->tail) : 0));
}

/* Runs a program to its end. arguments end with NULL. */
static void run(const char* what, char** arguments) {
  Child child;

  start_child(&child, arguments);
  PG_TRY();
  { wait_for_child(&child); }
  PG_CATCH();
  {
    end_child(&child);
    PG_RE_THROW();
  }
  PG_END_TRY();
  end_child(&child);
  if (!WIFEXITED(child.status) || WEXITSTATUS(child.status) != 0) report_failure(what, &child);
}

/* A program that outlives this session and its server. It has begun when this returns. */
static void run_detached(char** arguments) {
  int ends[2];
  int problem = 0;
  ssize_t got;
  pid_t pid;

  if (pipe(ends) != 0) ereport(ERROR, (errcode_for_file_access(), errmsg("could not create a pipe: %m")));
  fcntl(ends[1], F_SETFD, FD_CLOEXEC);
  fflush(NULL);
  pid = fork();
  if (pid == 0) {
    setsid();
    if (fork() != 0) _exit(0);
    if (Logging_collector) { /* what it is connected with now ends with the server */
      int null = open("/dev/null", O_WRONLY);

      dup2(null, STDOUT_FILENO);
      dup2(null, STDERR_FILENO);
    } else {
      dup2(STDERR_FILENO, STDOUT_FILENO);
    }
    become(arguments, ends[1]);
    problem = errno;
    if (write(ends[1], &problem, sizeof(problem)) < 0) _exit(126);
    _exit(127);
  }
  close(ends[1]);
  if (pid > 0) waitpid(pid, NULL, 0);
  do got = read(ends[0], &problem, sizeof(problem));
  while (got < 0 && errno == EINTR);
  close(ends[0]);
  errno = problem;
  if (pid < 0 || got > 0) ereport(ERROR, (errmsg("could not start \"%s\": %m", arguments[0])));
}

/* ---- scripts of the data directory */

/* Only a name: whoever may call this must not reach other programs of the machine. */
static char* script_path(const char* name) {
  char* path;
  struct stat about;

  if (*name == '\0' || strchr(name, '/') != NULL)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("\"%s\" is no name of a script", name),
                    errdetail("Scripts lie in the data directory and are named without a path.")));
  path = psprintf("%s/%s", DataDir, name);
  if (stat(path, &about) != 0)
    ereport(ERROR, (errcode_for_file_access(), errmsg("could not find script \"%s\": %m", path)));
  if (!S_ISREG(about.st_mode) || access(path, X_OK) != 0)
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                    errmsg("script \"%s\" is no file that the server may run", path)));
  return path;
}

static char* argument_text(FunctionCallInfo fcinfo, int n) {
  if (n == kNodeArgument) return psprintf("%d", PG_GETARG_INT32(n));
  return text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/* The script is given the data directory, then the function's arguments from `first` on. */
static void run_script(FunctionCallInfo fcinfo, const char* name, int first) {
  char* arguments[kMaxArguments];
  int count = 0;
  int i;

  arguments[count++] = script_path(name);
  if (first > 0) arguments[count++] = DataDir;
  for (i = first; i < PG_NARGS() && count < kMaxArguments - 1; ++i) arguments[count++] = argument_text(fcinfo, i);
  arguments[count] = NULL;
  run(psprintf("script \"%s\"", name), arguments);
}

Datum pgpool_recovery(PG_FUNCTION_ARGS) {
  superusers_only();
  run_script(fcinfo, text_to_cstring(PG_GETARG_TEXT_PP(0)), 1);
  PG_RETURN_BOOL(true);
}

Datum pgpool_remote_start(PG_FUNCTION_ARGS) {
  superusers_only();
  run_script(fcinfo, "pgpool_remote_start", 0);
  PG_RETURN_BOOL(true);
}

/* ---- the server itself */

static char* pg_ctl(void) {
  char* path;

  if (pg_ctl_path != NULL && *pg_ctl_path) return pg_ctl_path;
  path = pstrdup(my_exec_path);
  get_parent_directory(path);
  return psprintf("%s/pg_ctl", path);
}

static void check_mode(const char* mode) {
  if (strcmp(mode, "smart") != 0 && strcmp(mode, "fast") != 0 && strcmp(mode, "immediate") != 0)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid stop mode \"%s\"", mode),
                    errhint("It is smart, fast or immediate.")));
}

static void restart(char* mode) {
  char* arguments[] = {pg_ctl(), "restart", "-w", "-t", kStopWaitSeconds, "-D", DataDir, "-m", mode, NULL};

  run_detached(arguments);
}

Datum pgpool_pgctl(PG_FUNCTION_ARGS) {
  char* action = text_to_cstring(PG_GETARG_TEXT_PP(0));
  char* mode = text_to_cstring(PG_GETARG_TEXT_PP(1));

  superusers_only();
  if (strcmp(action, "reload") == 0) {
    char* arguments[] = {pg_ctl(), "reload", "-D", DataDir, NULL};

    run("pg_ctl", arguments);
    PG_RETURN_BOOL(true);
  }
  check_mode(mode);
  if (strcmp(action, "stop") == 0) {
    /* Not waited for: this session ends with the server. */
    char* arguments[] = {pg_ctl(), "stop", "-W", "-D", DataDir, "-m", mode, NULL};

    run_detached(arguments);
  } else if (strcmp(action, "restart") == 0) {
    restart(mode);
  } else {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid action \"%s\"", action),
                    errhint("It is stop, restart or reload.")));
  }
  PG_RETURN_BOOL(true);
}

/* standby.signal first: whoever starts the server again, it does not come back as a second primary. */
Datum pgpool_restart_as_standby(PG_FUNCTION_ARGS) {
  char* mode = text_to_cstring(PG_GETARG_TEXT_PP(0));
  char* path = psprintf("%s/standby.signal", DataDir);
  const char* conninfo = GetConfigOption("primary_conninfo", true, false);
  int fd;

  superusers_only();
  check_mode(mode);
  if (conninfo == NULL || *conninfo == '\0')
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("primary_conninfo is empty"),
                    errhint("Set it by ALTER SYSTEM and reload first.")));
  fd = OpenTransientFile(path, O_CREAT | O_RDWR | PG_BINARY);
  if (fd < 0) ereport(ERROR, (errcode_for_file_access(), errmsg("could not create file \"%s\": %m", path)));
  CloseTransientFile(fd);
  fsync_fname(path, false);
  fsync_fname(DataDir, true);
  PG_TRY();
  { restart(mode); }
  PG_CATCH();
  {
    if (!RecoveryInProgress()) unlink(path);
    PG_RE_THROW();
  }
  PG_END_TRY();
  PG_RETURN_BOOL(true);
}

/* ---- WAL */

static char* switch_segment(void) {
  char *name, *kept;

  if (SPI_connect() != SPI_OK_CONNECT) elog(ERROR, "SPI_connect failed");
  if (SPI_execute("SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_switch_wal())", false, 1) != SPI_OK_SELECT ||
      SPI_processed != 1)
    elog(ERROR, "could not switch to a new WAL segment");
  name = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
  kept = SPI_palloc(strlen(name) + 1); /* SPI_finish() frees the rest */
  strcpy(kept, name);
  SPI_finish();
  return kept;
}

/* Returns the segment's name when the archive has it. */
Datum pgpool_switch_xlog(PG_FUNCTION_ARGS) {
  char* folder = text_to_cstring(PG_GETARG_TEXT_PP(0));
  struct stat about;
  char *name, *path;
  int left;

  superusers_only();
  if (stat(folder, &about) != 0 || !S_ISDIR(about.st_mode))
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("\"%s\" is no directory", folder)));
  name = switch_segment();
  path = psprintf("%s/%s", folder, name);
  for (left = kArchiveWaitSeconds * 1000 / kPollMilliseconds; stat(path, &about) != 0; --left) {
    if (errno != ENOENT) ereport(ERROR, (errcode_for_file_access(), errmsg("could not look at \"%s\": %m", path)));
    if (left == 0) ereport(ERROR, (errmsg("WAL segment %s was not archived within %d s", name, kArchiveWaitSeconds)));
    CHECK_FOR_INTERRUPTS();
    (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, kPollMilliseconds, PG_WAIT_EXTENSION);
    ResetLatch(MyLatch);
  }
  PG_RETURN_TEXT_P(cstring_to_text(name));
}

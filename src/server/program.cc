#include "server/program.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "server/descriptors.h"
#include "server/detach.h"
#include "server/errc.h"
#include "server/files.h"
#include "server/log_format.h"
#include "server/machine.h"
#include "server/other_process.h"
#include "server/pid_file.h"
#include "server/server.h"

namespace herdgate::server {
namespace {

// Before there is a log, and for what must be seen on the terminal: written at once.
void say(const LogSettings& how, const LogLine& line) {
  LogContext who;
  const std::string time_ms = format_wall(SystemClock().wall(), /*with_ms=*/true);
  const LineFacts facts{::getpid(), std::string_view(time_ms).substr(0, time_ms.size() - 4), time_ms};
  std::fputs(format_message(how.prefix, how.verbosity, facts, who, line).c_str(), stderr);
}

int refuse(const LogSettings& how, std::string_view text, std::string_view detail = {}) {
  say(how, {.level = Level::fatal, .text = text, .detail = detail});
  return EXIT_FAILURE;
}

int usage_error(const CommandLine& line) {
  std::fprintf(stderr, "pgpool: %s\n\n%s", line.problem.c_str(), usage_text().c_str());
  return EXIT_FAILURE;
}

std::string pid_path_of(const FilesRead& read) {
  return read.files.settings->beside_config(read.files.settings->pid_file_name);
}

void print(const config::Finding& finding) {
  std::fprintf(stderr, "%s: %s\n", std::string(level_name(level_of(finding.severity))).c_str(),
               finding_text(finding).c_str());
}

int check(const CommandLine& line) {
  FilePaths paths = locate(line);
  paths.hba_anyway = !line.hba_file.empty();
  FilesRead read = read_files(paths, {.strict = true});
  for (config::Finding& finding : missing_here(*read.files.settings)) read.findings.push_back(std::move(finding));
  for (const config::Finding& finding : read.findings) print(finding);
  if (read.has_errors()) return EXIT_FAILURE;
  std::fprintf(stderr, "no errors in the configuration files\n");
  return EXIT_SUCCESS;
}

// The pid file's name and nothing else: other errors in the file are not its business.
int stop(const CommandLine& line) {
  const FilesRead read = read_files(locate(line));
  const LogSettings how = log_settings(*read.files.settings);
  if (const auto readable = read_file(locate(line).config); !readable) return refuse(how, readable.error().text());
  const auto done = stop_server(pid_path_of(read), line.stop_mode);
  return done ? EXIT_SUCCESS : refuse(how, done.error().code.message(), done.error().context);
}

// Which pool_hba.conf the server reads is known where it is named. It looks for errors itself, too.
int reload(const CommandLine& line) {
  FilePaths paths = locate(line);
  if (line.hba_file.empty()) paths.hba.clear();
  const FilesRead read = read_files(paths);
  const LogSettings how = log_settings(*read.files.settings);
  if (const auto readable = read_file(paths.config); !readable) return refuse(how, readable.error().text());
  if (read.has_errors()) {
    for (const config::Finding& finding : read.findings)
      if (finding.severity == config::Severity::error) print(finding);
    return refuse(how, "not reloaded: the configuration has errors");
  }
  const auto done = reload_server(pid_path_of(read));
  return done ? EXIT_SUCCESS : refuse(how, done.error().code.message(), done.error().context);
}

struct Start {
  FilesRead read;
  LogSettings how;
  std::string pid_path;
  std::optional<std::string> descriptor_warning;
  bool stale_pid_file = false;
};

// All that can be refused before the process goes into the background. The reason has been said when it fails.
bool prepare(const CommandLine& line, Start& start) {
  start.read = read_files(locate(line));
  const config::Settings& settings = *start.read.files.settings;
  start.how = log_settings(settings);
  start.pid_path = pid_path_of(start.read);
  if (start.read.has_errors()) {
    for (const config::Finding& finding : start.read.findings)
      say(start.how, {.level = level_of(finding.severity), .text = finding_text(finding)});
    refuse(start.how, "could not start with errors in the configuration");
    return false;
  }
  const auto found = check_pid_file(start.pid_path);
  if (!found && found.error().code == make_error_code(Errc::pid_file_taken)) {
    // Scripts know this line.
    std::fprintf(stderr, "ERROR: pid file found. is another pgpool(%s) is running?\n", found.error().context.c_str());
    return false;
  }
  // Unreadable for us, or nonsense in it: whether it can be replaced is seen when it is.
  start.stale_pid_file = !found || *found == PidFileFound::stale;
  const DescriptorNeed need =
      needed_descriptors(settings.num_init_children, settings.max_pool, settings.backends.size());
  auto judged = judge_descriptors(need, raise_descriptor_limit());
  if (!judged) {
    refuse(start.how, judged.error().code.message(), judged.error().context);
    return false;
  }
  start.descriptor_warning = std::move(*judged);
  if (const std::string why = no_io_method(settings); !why.empty()) {
    refuse(start.how, why, "io_method = 'auto' takes epoll where io_uring cannot be used");
    return false;
  }
  return true;
}

void say_start_findings(Log& log, const Start& start) {
  LogContext who;
  for (const config::Finding& finding : start.read.findings)
    HG_LOG(log, who, level_of(finding.severity), "{}", finding_text(finding));
  if (start.stale_pid_file) HG_LOG(log, who, Level::notice, "replacing a stale pid file \"{}\"", start.pid_path);
  if (start.descriptor_warning) HG_LOG(log, who, Level::warning, "{}", *start.descriptor_warning);
}

// Empty, or why it cannot be begun.
std::string begin_collecting(Log& log, LogWriter& writer, const LogSettings& how) {
  LogContext who;
  const std::string hint = fmt::format("Future log output will appear in directory \"{}\".", how.rotation.directory);
  log.write(who, {.text = "redirecting log output to logging collector process", .hint = hint});
  writer.flush(LogWriter::kLastFlush);
  const auto begun = writer.begin_collecting();
  if (begun) return {};
  return fmt::format("could not open log file \"{}\": {}", begun.error().context, begun.error().code.message());
}

int serve(const CommandLine& line, Start& start, std::optional<Detached>& detached) {
  const SystemClock clock;
  LogWriter writer(start.how, clock, {.take_stderr = start.how.collect});
  const FlushOnCrash flush_on_crash(writer);
  Log log(writer);
  log.set_threshold(log_threshold(*start.read.files.settings, line.debug));
  say_start_findings(log, start);
  const char* notify_socket = std::getenv("NOTIFY_SOCKET");
  ServerOptions options{.paths = locate(line),
                        .debug = line.debug,
                        .discard_status = line.discard_status,
                        .notify_address = notify_socket ? notify_socket : ""};
  ::unsetenv("NOTIFY_SOCKET");  // not for the commands that we start

  LogContext who;
  bool collecting = false;
  const auto give_up = [&](const std::string& text) {
    if (collecting) {
      writer.tell_terminal(who, {.level = Level::fatal, .text = text});
    } else if (!start.how.to_stderr) {
      refuse(start.how, text);
    }
    HG_LOG(log, who, Level::fatal, "could not start: {}", text);
    return EXIT_FAILURE;
  };
  if (start.how.collect) {
    if (const std::string why = begin_collecting(log, writer, start.how); !why.empty()) return give_up(why);
    collecting = true;
  }
  const auto pid_file = PidFile::create(start.pid_path);
  if (!pid_file) return give_up(pid_file.error().text());
  {
    Server server(clock, log, writer, start.read.files, std::move(options));
    if (const auto opened = server.open(); !opened) return give_up(opened.error().text());
    server.announce();
    if (detached) {
      writer.flush(LogWriter::kLastFlush);  // the last that the terminal sees of us
      if (const auto left = detached->ready({.keep_stderr = start.how.collect}); !left)
        return give_up(left.error().text());
      writer.leave_terminal();
    }
    server.run();
  }
  HG_LOG(log, who, Level::log, "shutdown complete");
  LogContext logger{.application = "logger", .process = "LOGGER"};
  if (start.how.collect) HG_LOG(log, logger, Level::debug1, "logger shutting down");
  return EXIT_SUCCESS;
}

int start(const CommandLine& line) {
  Start start;
  if (!prepare(line, start)) return EXIT_FAILURE;
  std::optional<Detached> detached;
  if (line.detach) {
    auto begun = Detached::begin();
    if (!begun) return refuse(start.how, "could not go into the background", begun.error().text());
    detached.emplace(std::move(*begun));
  }
  block_signals();
  return serve(line, start, detached);
}

}  // namespace

int run_program(const CommandLine& line) {
  ::tzset();
  switch (line.action) {
    case Action::usage_error:
      return usage_error(line);
    case Action::help:
      std::fputs(usage_text().c_str(), stderr);
      return EXIT_SUCCESS;
    case Action::version:
      std::fprintf(stderr, "%s\n", version_text().c_str());
      return EXIT_SUCCESS;
    case Action::check:
      return check(line);
    case Action::stop:
      return stop(line);
    case Action::reload:
      return reload(line);
    case Action::start:
      return start(line);
  }
  return EXIT_FAILURE;
}

}  // namespace herdgate::server

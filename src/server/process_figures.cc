#include "server/process_figures.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <vector>

#include "server/files.h"

namespace herdgate::server {
namespace {

// Places in the line, counted from behind the program's name, which may hold anything.
constexpr std::size_t kUserTicks = 11, kSystemTicks = 12, kThreads = 17, kVirtualBytes = 20, kResidentPages = 21;

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(" \n"), text.size());
    if (end > 0) words.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

std::uint64_t number(std::string_view word) {
  std::uint64_t value = 0;
  std::from_chars(word.data(), word.data() + word.size(), value);
  return value;
}

// Since Linux 6.2 the folder's size is their number; to read it takes a microsecond for each.
std::uint64_t count_descriptors() {
  struct stat about {};
  if (::stat("/proc/self/fd", &about) == 0 && about.st_size > 0) return static_cast<std::uint64_t>(about.st_size);
  std::error_code problem;
  std::uint64_t count = 0;
  for (std::filesystem::directory_iterator at("/proc/self/fd", problem), end; !problem && at != end;
       at.increment(problem))
    ++count;
  return count > 0 ? count - 1 : 0;  // without the one that reads the folder
}

}  // namespace

std::optional<report::ProcessFigures> parse_stat(std::string_view text, const ProcessUnits& units) {
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string_view::npos) return std::nullopt;
  const std::vector<std::string_view> words = words_of(text.substr(name_end + 1));
  if (words.size() <= kResidentPages) return std::nullopt;
  report::ProcessFigures figures;
  figures.cpu_seconds =
      static_cast<double>(number(words[kUserTicks]) + number(words[kSystemTicks])) / units.ticks_per_second;
  figures.threads = number(words[kThreads]);
  figures.virtual_bytes = number(words[kVirtualBytes]);
  figures.resident_bytes = number(words[kResidentPages]) * units.page_bytes;
  return figures;
}

std::optional<report::ProcessFigures> process_figures() {
  const auto text = read_file("/proc/self/stat");
  if (!text) return std::nullopt;
  const ProcessUnits units{static_cast<double>(::sysconf(_SC_CLK_TCK)),
                           static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE))};
  auto figures = parse_stat(*text, units);
  if (!figures) return std::nullopt;
  figures->open_fds = count_descriptors();
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) figures->max_fds = limit.rlim_cur;
  return figures;
}

}  // namespace herdgate::server

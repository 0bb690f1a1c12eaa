// pgpool.conf from anywhere: load() must not crash, must bound its findings, and what it shows must be readable again.
#include <cstdint>
#include <cstdlib>

#include "config/errc.h"
#include "config/load.h"
#include "config/reload.h"
#include "config/show.h"

using namespace herdgate;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kLargest = 16384;
  if (size > kLargest) return 0;
  const std::string text(reinterpret_cast<const char*>(data), size);
  // A file that includes itself, and one that does not exist.
  const config::FileReader reader = [&](const std::string& path) -> Result<std::string> {
    if (path == "self") return text.substr(0, 200);
    return fail(config::Errc::unreadable, path);
  };
  const config::Loaded loaded = config::load_text(text, "self", reader);
  if (loaded.findings.size() > 2 * config::kMaxFindings + 1000) std::abort();
  if (!loaded.settings.patterns) std::abort();
  for (const config::Backend& b : loaded.settings.backends)
    if (b.port == 0 || b.hostname.empty()) std::abort();
  config::show_all(loaded.settings);
  config::pool_status_rows(loaded.settings);
  const config::Reloaded same = config::reload(loaded.settings, loaded.settings);
  if (!same.applied.empty() || !same.ignored_need_restart.empty()) std::abort();
  return 0;
}

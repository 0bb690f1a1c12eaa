// Whatever a client sends as target or Accept header.
#include <string_view>

#include "admin/http_choice.h"

using namespace herdgate::admin;

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Page page = page_of(text);
  if (page != Page::none && text.find('/') == std::string_view::npos) __builtin_trap();
  const Format format = format_for(text);
  if (format == Format::openmetrics && size < std::string_view("application/openmetrics-text").size()) __builtin_trap();
  std::string escaped;
  append_label_value(escaped, text);
  if (escaped.find('\n') != std::string::npos) __builtin_trap();
  return 0;
}

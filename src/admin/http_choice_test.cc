#include "admin/http_choice.h"

#include <gtest/gtest.h>

namespace herdgate::admin {
namespace {

TEST(HttpChoice, PagesAreFoundByTheirWholePath) {
  const std::pair<const char*, Page> cases[] = {
      {"/metrics", Page::metrics},
      {"/metrics?name[]=up", Page::metrics},
      {"/metrics/", Page::none},
      {"/metric", Page::none},
      {"/Metrics", Page::none},
      {"/healthz", Page::health},
      {"/readyz", Page::readiness},
      {"/readyz?", Page::readiness},
      {"/api/state", Page::state},
      {"/api", Page::none},
      {"http://host:9899/api/state?x", Page::state},
      {"HTTP://host/metrics", Page::metrics},
      {"http://host", Page::none},
      {"http://", Page::none},
      {"metrics", Page::none},
      {"/", Page::none},
      {"*", Page::none},
      {"", Page::none},
      {"/../metrics", Page::none},
      {"/%6detrics", Page::none},
      {"?/metrics", Page::none},
  };
  for (const auto& [target, page] : cases) EXPECT_EQ(page_of(target), page) << target;
}

TEST(HttpChoice, OpenMetricsHasToBeAskedFor) {
  const std::pair<const char*, Format> cases[] = {
      {"", Format::prometheus},
      {"*/*", Format::prometheus},
      {"text/plain", Format::prometheus},
      {"text/html,application/xhtml+xml,*/*;q=0.8", Format::prometheus},
      {"application/openmetrics-text", Format::openmetrics},
      {"Application/OpenMetrics-Text; Version=1.0.0", Format::openmetrics},
      {"application/openmetrics-text; version=\"1.0.0\"", Format::openmetrics},
      {"application/openmetrics-text; version=2.0.0", Format::prometheus},
      {"application/openmetrics-text; q=0", Format::prometheus},
      {"application/openmetrics-text; q=0.000", Format::prometheus},
      {"application/openmetrics-text;q=0.5, text/plain;q=0.5", Format::openmetrics},
      {"application/openmetrics-text;q=0.5, text/plain;q=0.501", Format::prometheus},
      {"application/openmetrics-text;q=0.5, text/plain", Format::prometheus},
      {"application/openmetrics-text;q=0.5, text/plain;version=9.9", Format::openmetrics},
      {"text/plain;q=0.4 , application/openmetrics-text ;\tq=0.9", Format::openmetrics},
      // Prometheus 2.42, and 3.
      {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
       "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
       Format::openmetrics},
      {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
       "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
       "text/plain;version=0.0.4;q=0.2,/;q=0.1",
       Format::openmetrics},
      // A comma between quotes separates nothing.
      {"text/x;a=\",application/openmetrics-text,\"", Format::prometheus},
      {"text/x;a=\"\\\",application/openmetrics-text", Format::prometheus},
      {"application/openmetrics-text;q=nonsense", Format::prometheus},
      {"application/openmetrics-text;q=", Format::prometheus},
      {"application/openmetrics-text;q=2", Format::prometheus},
      {",,;;=,\"", Format::prometheus},
  };
  for (const auto& [accept, format] : cases) EXPECT_EQ(format_for(accept), format) << accept;
}

}  // namespace
}  // namespace herdgate::admin

#include "config/session_settings.h"

#include <fmt/format.h>

#include <array>

#include "config/errc.h"
#include "config/parameter.h"

namespace herdgate::config {

// Reads and writes the overlay's field of one parameter. (A friend, so that the fields stay private.)
struct SessionParameter {
  std::string_view name;
  void (*set)(SessionSettings&, const Settings& parsed);
  void (*reset)(SessionSettings&);

  static const SessionParameter* find(std::string_view name) {
    static constexpr SessionParameter kAll[] = {
#define X(field)                                                                                    \
  {#field, [](SessionSettings& own, const Settings& parsed) { own.own_##field##_ = parsed.field; }, \
   [](SessionSettings& own) { own.own_##field##_.reset(); }},
        HG_SESSION_PARAMETERS(X)
#undef X
    };
    for (const SessionParameter& p : kAll)
      if (p.name == name) return &p;
    return nullptr;
  }
};

namespace {

struct Target {
  const Parameter* parameter;
  const SessionParameter* field;
};

Result<Target> changeable(std::string_view name) {
  const auto named = find_parameter(name, /*bare_arrays=*/true);
  if (!named) return fail(Errc::unknown_parameter, fmt::format("config variable \"{}\" not found", name));
  const SessionParameter* field = SessionParameter::find(named->parameter->name);
  if (field == nullptr || named->parameter->context != Context::session)
    return fail(Errc::not_changeable,
                fmt::format("invalid Context, value for parameter \"{}\" cannot be changed", name));
  return Target{named->parameter, field};
}

}  // namespace

Result<Done> SessionSettings::set(std::string_view name, std::string_view value) {
  HG_TRY(const Target target, changeable(name));
  HG_TRY(const Value parsed, parse_value(*target.parameter, value));
  Settings scratch;
  target.parameter->set(scratch, kNoIndex, parsed);
  target.field->set(*this, scratch);
  return Done{};
}

Result<Done> SessionSettings::reset(std::string_view name) {
  HG_TRY(const Target target, changeable(name));
  target.field->reset(*this);
  return Done{};
}

Settings SessionSettings::over(const Settings& settings) const {
  Settings all = settings;
#define X(name) all.name = name(settings);
  HG_SESSION_PARAMETERS(X)
#undef X
  return all;
}

}  // namespace herdgate::config

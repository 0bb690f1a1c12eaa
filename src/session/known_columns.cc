#include "session/known_columns.h"

#include "wire/payload_reader.h"

namespace herdgate::session {

std::optional<Hash128> KnownColumns::find(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  return known_.find(name, TimePoint::min());
}

void KnownColumns::keep(const std::string& name, const Hash128& columns) {
  const std::lock_guard lock(mutex_);
  known_.put(name, columns, TimePoint::max());
}

std::optional<Hash128> columns_of(const HashKey& key, ByteView payload, const Hash128& parameters) {
  Bytes bytes(reinterpret_cast<const char*>(&parameters), sizeof parameters);
  if (payload.empty()) return hash128(key, bytes);
  wire::PayloadReader reader(payload);
  const std::uint16_t count = reader.u16();
  for (std::uint16_t i = 0; i < count && reader.fits(); ++i) {
    append_cstr(bytes, reader.cstr());
    reader.u32();  // table
    reader.u16();  // its column
    append_u32(bytes, reader.u32());
    reader.u16();  // size, as the type says
    append_u32(bytes, reader.u32());
    reader.u16();  // format
  }
  return reader.whole() ? std::optional<Hash128>(hash128(key, bytes)) : std::nullopt;
}

}  // namespace herdgate::session

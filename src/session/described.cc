#include "session/described.h"

#include "wire/payload_reader.h"

namespace herdgate::session {
namespace {

bool whole_parameters(ByteView payload) {
  wire::PayloadReader reader(payload);
  const std::uint16_t count = reader.u16();
  for (std::uint16_t i = 0; i < count && reader.fits(); ++i) reader.u32();
  return reader.whole();
}

bool put_columns(Bytes& out, ByteView payload) {
  wire::PayloadReader reader(payload);
  const std::uint16_t count = reader.u16();
  for (std::uint16_t i = 0; i < count && reader.fits(); ++i) {
    append_cstr(out, reader.cstr());
    reader.u32();  // table
    reader.u16();  // its column
    append_u32(out, reader.u32());
    reader.u16();  // size, as the type says
    append_u32(out, reader.u32());
    reader.u16();  // format
  }
  return reader.whole();
}

}  // namespace

vsession::DescribedPtr described_as(const HashKey& key, ByteView parameters, ByteView columns) {
  if (!whole_parameters(parameters)) return nullptr;
  Bytes said;
  if (!columns.empty() && !put_columns(said, columns)) return nullptr;
  auto described = std::make_shared<vsession::Described>();
  described->parameters = parameters;
  described->columns = columns.empty() ? Hash128() : hash128(key, said);
  return described;
}

}  // namespace herdgate::session

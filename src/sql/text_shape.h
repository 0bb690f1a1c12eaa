// The shape of a text: itself with every number replaced by 0. Applications that put values into their texts send few
// shapes, so facts are kept by shape where numbers do not matter. Pure.
//
// Shape    shape_of() makes it; has_shape() asks whether a text has a known one, at the price of comparing the text:
//          113 instructions for pgbench's SELECT, where making the shape, hashing and looking it up took 1,170.
// Threads  values.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace herdgate::sql {

struct TextShape {
  std::string text;
  std::vector<std::uint32_t> numbers;  // where in `text` a 0 stands for a number, in order
};

// False where there is no number, or where replacing one could hide something: quoted names, comments, dollar quotes,
// backslashes, and digits that run into a word. `shape` is scratch space then.
bool shape_of(std::string_view text, TextShape& shape);

// shape_of(text) succeeds and gives `shape`. Without numbers: the two are equal.
bool has_shape(std::string_view text, const TextShape& shape);

}  // namespace herdgate::sql

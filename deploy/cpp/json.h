// A small strict JSON reader (RFC 8259) for the bundle's own files, and the escaping a writer needs.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace edgekd {

struct Json {
  enum Kind { kNull, kBool, kNumber, kString, kArray, kObject };

  Kind kind = kNull;
  bool truth = false;
  double number = 0;
  std::string text;                                   // UTF-8
  std::vector<Json> items;                            // of an array
  std::vector<std::pair<std::string, Json>> members;  // of an object, as written

  // The member of that name, the last one if it is there twice; nullptr if none, or if this is no object.
  const Json* find(const std::string& name) const;
};

// Throws Problem "integrity", naming `where` and the byte: not JSON, nested deeper than 64, or text that is not UTF-8.
Json parse_json(const std::string& text, const std::string& where);

// As a JSON string, with its quotation marks. Bytes that are not UTF-8, as file names may have, become U+FFFD.
std::string quoted(const std::string& text);

}  // namespace edgekd

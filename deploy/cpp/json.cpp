#include "json.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "problem.h"

namespace edgekd {
namespace {

constexpr int kDeepest = 64;
constexpr char kEscapes[] = "\"\\/bfnrtu", kMeant[] = "\"\\/\b\f\n\r\t";

// How many bytes the UTF-8 sequence at `at` has; 0 when it is not one (overlong and surrogates are not).
size_t utf8_length(const std::string& text, size_t at) {
  auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  auto follows = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const unsigned first = byte(at), second = byte(at + 1);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(at + 1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F)) return 0;
    return follows(at + 1) && follows(at + 2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if ((first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F)) return 0;
    return follows(at + 1) && follows(at + 2) && follows(at + 3) ? 4 : 0;
  }
  return 0;
}

void append_utf8(std::string& out, unsigned code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

class Reader {
 public:
  Reader(const std::string& text, const std::string& where) : text_(text), where_(where) {}

  Json document() {
    Json read = value(0);
    space();
    if (at_ != text_.size()) refuse("more follows after the value");
    return read;
  }

 private:
  [[noreturn]] void refuse(const char* why) const {
    throw Problem("integrity", "not JSON", where_, std::string(why) + " at byte " + std::to_string(at_));
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void space() {
    while (at_ < text_.size() && std::strchr(" \t\r\n", text_[at_]) && text_[at_]) ++at_;
  }

  void word(const char* expected) {
    if (text_.compare(at_, std::strlen(expected), expected) != 0) refuse("an unknown word");
    at_ += std::strlen(expected);
  }

  Json value(int depth) {
    if (depth > kDeepest) refuse("nested too deeply");
    space();
    Json read;
    switch (peek()) {
      case '{': object(read, depth); break;
      case '[': array(read, depth); break;
      case '"': read.kind = Json::kString, read.text = string(); break;
      case 't': word("true"), read.kind = Json::kBool, read.truth = true; break;
      case 'f': word("false"), read.kind = Json::kBool; break;
      case 'n': word("null"); break;
      default: read.kind = Json::kNumber, read.number = number();
    }
    return read;
  }

  void object(Json& read, int depth) {
    read.kind = Json::kObject;
    ++at_, space();
    if (peek() == '}') { ++at_; return; }
    for (;;) {
      space();
      if (peek() != '"') refuse("a name is missing");
      std::string name = string();
      space();
      if (peek() != ':') refuse("a colon is missing");
      ++at_;
      read.members.emplace_back(std::move(name), value(depth + 1));
      if (last('}')) return;
    }
  }

  void array(Json& read, int depth) {
    read.kind = Json::kArray;
    ++at_, space();
    if (peek() == ']') { ++at_; return; }
    do read.items.push_back(value(depth + 1));
    while (!last(']'));
  }

  bool last(char closing) {
    space();
    const char seen = peek();
    if (seen != ',' && seen != closing) refuse("a comma or a bracket is missing");
    ++at_;
    return seen == closing;
  }

  double number() {
    const size_t start = at_;
    auto digits = [&] {
      const size_t first = at_;
      while (peek() >= '0' && peek() <= '9') ++at_;
      if (at_ == first) refuse("no value");
    };
    if (peek() == '-') ++at_;
    if (peek() == '0') ++at_; else digits();
    if (peek() == '.') ++at_, digits();
    if (peek() == 'e' || peek() == 'E') {
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      digits();
    }
    return std::strtod(text_.substr(start, at_ - start).c_str(), nullptr);  // this program never leaves the C locale
  }

  unsigned hex4() {
    unsigned code = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = peek();
      const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
      if (digit < 0) refuse("four hex digits are missing");
      code = code * 16 + static_cast<unsigned>(digit);
    }
    return code;
  }

  unsigned escaped_code() {
    const unsigned high = hex4();
    if (high < 0xD800 || high > 0xDFFF) return high;
    if (high > 0xDBFF || text_.compare(at_, 2, "\\u") != 0) refuse("half a surrogate pair");
    at_ += 2;
    const unsigned low = hex4();
    if (low < 0xDC00 || low > 0xDFFF) refuse("half a surrogate pair");
    return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
  }

  std::string string() {
    std::string out;
    for (++at_; peek() != '"';) {
      if (at_ >= text_.size()) refuse("a string does not end");
      if (static_cast<unsigned char>(peek()) < 0x20) refuse("a control character in a string");
      if (peek() != '\\') {
        const size_t length = utf8_length(text_, at_);
        if (!length) refuse("not UTF-8");
        out.append(text_, at_, length);
        at_ += length;
        continue;
      }
      ++at_;
      const char kind = peek();
      const char* known = kind ? std::strchr(kEscapes, kind) : nullptr;
      if (!known) refuse("an unknown escape");
      ++at_;
      if (kind == 'u') append_utf8(out, escaped_code());
      else out += kMeant[known - kEscapes];
    }
    ++at_;
    return out;
  }

  const std::string& text_;
  const std::string& where_;
  size_t at_ = 0;
};

}  // namespace

const Json* Json::find(const std::string& name) const {
  for (auto member = members.rbegin(); member != members.rend(); ++member)
    if (member->first == name) return &member->second;
  return nullptr;
}

Json parse_json(const std::string& text, const std::string& where) { return Reader(text, where).document(); }

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (size_t at = 0; at < text.size();) {
    const size_t length = utf8_length(text, at);
    const unsigned char byte = static_cast<unsigned char>(text[at]);
    if (!length) {
      out += "\xEF\xBF\xBD";
    } else if (byte == '"' || byte == '\\') {
      out += '\\', out += text[at];
    } else if (byte < 0x20 || byte == 0x7F) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(byte));
      out += escape;
    } else {
      out.append(text, at, length);
    }
    at += length ? length : 1;
  }
  return out + '"';
}

}  // namespace edgekd

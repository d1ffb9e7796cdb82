#include "app/qemu_options.h"

#include <cstring>

namespace tbft {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// In place; false where a % is not followed by two digits.
bool decode(char* text) {
  char* out = text;
  for (; *text != '\0'; ++text, ++out) {
    *out = *text;
    if (*text != '%') continue;
    const int high = hex_digit(text[1]);
    const int low = high < 0 ? -1 : hex_digit(text[2]);
    if (low < 0) return false;
    *out = static_cast<char>(high * 16 + low);
    text += 2;
  }
  *out = '\0';
  return true;
}

// A decimal number of at most `limit`; `text` is moved behind it.
bool parse_number(const char** text, uint32_t limit, uint32_t* value) {
  uint64_t number = 0;
  const char* p = *text;
  for (; *p >= '0' && *p <= '9' && number <= limit; ++p) {
    number = number * 10 + static_cast<uint64_t>(*p - '0');
  }
  if (p == *text || number > limit) return false;
  *text = p;
  *value = static_cast<uint32_t>(number);
  return true;
}

bool parse_whole(const char* text, uint32_t limit, uint32_t* value) {
  return parse_number(&text, limit, value) && *text == '\0';
}

// N[,N…], each a multiple of 16, and at most what the board has; regions not named have nothing.
bool parse_regions(const char* text, uint32_t region_bytes[kMaxRegions]) {
  for (uint32_t i = 0; i < kMaxRegions; ++i) {
    uint32_t bytes = 0;
    if (*text != '\0') {
      if (!parse_number(&text, region_bytes[i], &bytes) || bytes % 16 != 0) return false;
      if (*text == ',' && text[1] != '\0') {
        ++text;
      } else if (*text != '\0') {
        return false;
      }
    }
    region_bytes[i] = bytes;
  }
  return *text == '\0';
}

}  // namespace

const char* QemuOptions::parse(char* text) {
  while (*text != '\0') {
    char* word = text;
    text = strchr(text, ' ');
    if (text == nullptr) {
      text = word + strlen(word);
    } else {
      *text = '\0';
      ++text;
    }
    if (*word == '\0') continue;
    char* value = strchr(word, '=');
    if (value == nullptr || !decode(value + 1)) return word;
    *value = '\0';
    ++value;
    bool good = true;
    if (strcmp(word, "flash") == 0) {
      flash = value;
    } else if (strcmp(word, "artifact") == 0) {
      artifact = value;
    } else if (strcmp(word, "board-name") == 0) {
      board_name = value;
    } else if (strcmp(word, "arena-bytes") == 0) {
      good = parse_regions(value, region_bytes);
    } else if (strcmp(word, "cache-bytes") == 0) {
      good = parse_whole(value, cache_bytes, &cache_bytes);
    } else if (strcmp(word, "power-cut") == 0) {
      good = parse_whole(value, UINT32_MAX, &power_cut);
    } else {
      good = false;
    }
    if (!good) return word;
  }
  return nullptr;
}

}  // namespace tbft

// Where training samples wait: for each slot the activation at the partition boundary (or the input
// itself) and its label.
#pragma once

#include <cstdint>

namespace tbft {

class SampleCache {
 public:
  // Forgets everything; from now on a sample has this many bytes. False when not even one fits.
  virtual bool configure(uint32_t sample_bytes) = 0;
  // Number of slots at the configured sample size.
  virtual uint32_t slots() const = 0;
  // Stores a sample of the configured size. False when the slot does not exist or the store failed.
  virtual bool put(uint32_t slot, const uint8_t* sample, uint16_t label) = 0;
  // Whether the slot holds a sample.
  virtual bool has(uint32_t slot) const = 0;
  // Reads a stored sample. False when has(slot) is false or the store failed.
  virtual bool get(uint32_t slot, uint8_t* sample, uint16_t* label) = 0;

 protected:
  ~SampleCache() = default;
};

}  // namespace tbft

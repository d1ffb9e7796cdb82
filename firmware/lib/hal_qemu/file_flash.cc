#include "hal_qemu/file_flash.h"

#include "hal_qemu/semihosting.h"

namespace tbft {

bool QemuFlash::open_file(const char* path) {
  file_ = semihosting::open(path, semihosting::Mode::kUpdate);
  if (file_ < 0) file_ = semihosting::open(path, semihosting::Mode::kCreate);
  if (file_ < 0) return false;
  const int32_t there = semihosting::size(file_);
  if (there < 0) return false;
  const uint32_t known =
      static_cast<uint32_t>(there) < size_bytes() ? static_cast<uint32_t>(there) : size_bytes();
  if (!semihosting::seek(file_, 0) ||
      semihosting::read(file_, storage(), known) != static_cast<int32_t>(known)) {
    return false;
  }
  return known == size_bytes() || write_file(known, size_bytes() - known);
}

bool QemuFlash::write_file(uint32_t offset, uint32_t size) {
  return semihosting::seek(file_, offset) && semihosting::write(file_, storage() + offset, size);
}

bool QemuFlash::persist(uint32_t offset, uint32_t size) {
  ++operations_;
  if (operations_ == cut_at_) {
    if (file_ >= 0) (void)write_file(offset, size / 2);
    semihosting::exit(kPowerCutStatus);
  }
  if (file_ < 0 || write_file(offset, size)) return true;
  // The memory must not show what the file did not take: a commit would trust it.
  if (semihosting::seek(file_, offset)) (void)semihosting::read(file_, storage() + offset, size);
  return false;
}

}  // namespace tbft

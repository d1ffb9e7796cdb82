"""Tells PlatformIO about the emulated boards; builder/main.py has the work."""

from platformio.public import PlatformBase


class Qemu_mcuPlatform(PlatformBase):  # noqa: N801 (PlatformIO derives the name)
    """Nothing to install: the compilers come by apt and `make toolchain`."""

    def is_embedded(self):
        """There is no programmer and no serial port to look for."""
        return False

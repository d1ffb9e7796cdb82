"""Says in one sentence why an ESP32 board cannot be built here; see prepare_core.py."""

from platformio.exception import UserSideException
from platformio.public import PlatformBase


class Needs_registryPlatform(PlatformBase):  # noqa: N801 (PlatformIO derives the name)
    """Stands in for a platform that only PlatformIO's registry has."""

    def configure_default_packages(self, options, targets):
        """Called first of all; goes no further."""
        raise UserSideException(
            "error: ESP32 boards need ESP-IDF from PlatformIO's registry, and this checkout was "
            "prepared for a machine without it; where there is internet, run "
            "`rm -r build/platformio` and try again"
        )

"""Energy of a fine-tuning session: capture, trace, integration, plot.

Imports nothing else of this project; the board session is a plug-in (see `energy.session`).
"""

from energy.interrupt import quiet_interrupts
from energy.memory import use_system_allocator

quiet_interrupts()
use_system_allocator()

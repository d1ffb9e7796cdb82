"""Energy of a fine-tuning session: capture, trace, integration, plot.

Imports nothing else of this project; the board session is a plug-in (see `energy.session`).
"""

from energy.interrupt import quiet_interrupts

quiet_interrupts()

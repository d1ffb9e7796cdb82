"""The programs people type: export, fine-tune, measure, record.

Importing `energy` first makes Ctrl-C quiet from the first moment (`energy.interrupt`).
"""

import energy as energy

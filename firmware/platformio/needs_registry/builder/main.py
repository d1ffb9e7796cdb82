"""Never reached: platform.py refuses first."""

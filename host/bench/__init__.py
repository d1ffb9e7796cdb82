"""The figures this project promises, measured side by side with their references (``make bench``)."""

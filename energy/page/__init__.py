"""The report of a run as one HTML file that needs nothing else: a trace to zoom into, energy per phase, the paper's figures."""

from energy.page.render import PAGE, write_page

__all__ = ["PAGE", "write_page"]

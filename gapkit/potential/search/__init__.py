"""Search for settings of a potential by evidence or leave-one-out errors.

Here are the search and its candidates; what a candidate is judged by comes from `potential.error_bars`.  It may import
`potential.gap` and all that stands below.
"""

from gapkit.potential.search.settings_search import SettingsSearch

__all__ = ["SettingsSearch"]

"""Search for settings by evidence or leave-one-out errors."""

from gapkit.potential.search.settings_search import SettingsSearch

__all__ = ["SettingsSearch"]

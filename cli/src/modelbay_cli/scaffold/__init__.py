"""A new plugin as files: `modelbay plugin new`."""

from modelbay_cli.scaffold.name import PluginName, plugin_name
from modelbay_cli.scaffold.writing import STYLES, Style, write

__all__ = ["STYLES", "PluginName", "Style", "plugin_name", "write"]

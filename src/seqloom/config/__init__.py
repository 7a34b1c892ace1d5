"""Typed configuration: sections, loading, presets, aliases, contradictions. `loading.py` is the way in."""

from seqloom.config.checks import check_config, check_decoding
from seqloom.config.loading import (
    change_decoding,
    dump_config,
    load_config,
    load_preset,
    preset_names,
    preset_summary,
    save_config,
    update_config,
)
from seqloom.config.sections import FORMAT_VERSION, Config, DecodingConfig

__all__ = [
    "FORMAT_VERSION",
    "Config",
    "DecodingConfig",
    "change_decoding",
    "check_config",
    "check_decoding",
    "dump_config",
    "load_config",
    "load_preset",
    "preset_names",
    "preset_summary",
    "save_config",
    "update_config",
]

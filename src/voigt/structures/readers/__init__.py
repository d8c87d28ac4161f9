"""Formats of structure files, one file per family; which format a file has is found out by its name or content."""

from __future__ import annotations

from voigt.structures.readers.formats import is_structure_file, parse_bytes, parse_file, parse_stream

__all__ = ["is_structure_file", "parse_bytes", "parse_file", "parse_stream"]

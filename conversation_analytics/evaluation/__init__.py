"""Qualities measured on labelled sets."""

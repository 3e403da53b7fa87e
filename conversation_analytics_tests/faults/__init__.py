"""Tests that do to the platform what may happen to it."""

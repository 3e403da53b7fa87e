"""Adapters to what knows languages."""

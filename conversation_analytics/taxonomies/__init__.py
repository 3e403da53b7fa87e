"""Taxonomies that come with the package."""

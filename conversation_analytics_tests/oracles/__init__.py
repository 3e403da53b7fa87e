"""Slow and obvious versions of what the platform computes fast."""

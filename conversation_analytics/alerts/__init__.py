"""The alert webhook: signed delivery of run failures."""

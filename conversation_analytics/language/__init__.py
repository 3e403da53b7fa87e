"""Adapters of language engines: what tells languages apart."""

"""Tests of the document stores."""

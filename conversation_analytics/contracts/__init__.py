"""Contract tests that authors of extensions call: plain functions that fail with a sentence.

They need no test framework: what does not hold is an `AssertionError`. They assert as tests do, and
belong into tests: nothing of the platform calls them.
"""

from conversation_analytics.contracts.source import check_source
from conversation_analytics.contracts.taxonomy import check_taxonomy
from conversation_analytics.contracts.translator import check_translator

__all__ = ["check_source", "check_taxonomy", "check_translator"]

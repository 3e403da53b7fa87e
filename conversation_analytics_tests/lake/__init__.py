"""Tests of the Parquet lake."""

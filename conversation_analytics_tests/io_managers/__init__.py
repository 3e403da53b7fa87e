"""Tests of the IO managers, in real runs."""

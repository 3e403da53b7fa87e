"""Tests of the Dask cluster."""

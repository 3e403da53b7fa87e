"""Adapters for what people say: detectors, embedders, segmentation, translators, files."""

"""Adapters for what people say: detectors, embedders, segmentation, and files that users edit."""

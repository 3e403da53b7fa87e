"""Adapters for what people say: embedders, segmentation, and the files that users edit."""

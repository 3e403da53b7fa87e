"""Part of the conversation analytics platform."""

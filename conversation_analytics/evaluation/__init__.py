"""Quality of the language parts on labelled sets; nothing here is used while the platform runs."""

"""Webhooks: signed delivery of run failures and of finished reports."""

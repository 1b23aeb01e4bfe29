"""Render pages and signs."""

"""Pictures on disk and in memory: read, kept whole, written whole; nothing here knows a network."""

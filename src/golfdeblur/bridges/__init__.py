"""One small file for each host program: the model in the host's own form (docs/hosts.md)."""

"""CDS Hooks 2.0: services, calls, prefetch, cards and feedback."""

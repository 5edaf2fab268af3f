"""CDS Hooks 2.0: the services offered, calls read, cards shown, feedback kept."""

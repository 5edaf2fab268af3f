"""One file a protocol spoken."""

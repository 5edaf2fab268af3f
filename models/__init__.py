"""What is fitted, and how it explains itself."""

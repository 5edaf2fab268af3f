"""The HTTP routes, one module for each protocol or resource."""

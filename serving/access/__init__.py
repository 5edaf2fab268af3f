"""Who may ask for what: API keys, tokens of an identity provider, CDS clients; scopes, rates, the way out."""

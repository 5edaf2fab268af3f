"""The kinds of endpoints: all that training does differently for survival, competing risks and response."""

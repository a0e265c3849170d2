"""The edge: what is refused and how, and what the responses say."""

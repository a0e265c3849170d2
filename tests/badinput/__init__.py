"""What nobody should hand to an engine, and what it says when somebody does."""

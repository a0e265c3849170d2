"""The server over its socket: what clients of any language see."""

"""Doctor: whether this machine can do what is asked, before it is tried."""

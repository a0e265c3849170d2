"""Where commands meet the law: a mailbox per workflow id, the cache, and the way to the store and back."""

"""`perdure demo`: one order, then a thousand, against services that crash and an engine that is killed.

The services (a payment gateway, a warehouse, a carrier, a mailer) are processes of their own with ledgers of
their own, so that nothing the engine says about an order has to be believed: the audit reads the
ledgers.
"""

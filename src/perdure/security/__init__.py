"""Who calls, and what they may: pure rules, and the keys that tokens are verified with.

    roles        what may be done, by whom: Temporal's roles and its table of RPCs
    tokens       who calls, of a JSON Web Token
    token_rules  what an operator asks of tokens
    jwks         the keys that tokens are verified with, fetched and fetched again

Nothing here knows of calls: `frontend.authorization` asks, and stands in their chain.
"""

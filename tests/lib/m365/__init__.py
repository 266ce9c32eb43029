"""A stand-in for the submission endpoint of Microsoft 365, for tests and demonstrations.

wire.py     bytes and their arrival times, STARTTLS, drops
rules.py    what to answer out of the ordinary, and the limits of a tenant
ledger.py   what was seen and what was said, as JSON lines
session.py  one SMTP session
control.py  the HTTP channel by which a test changes rules while mail flows
"""

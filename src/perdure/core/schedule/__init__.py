"""Schedules: what is to be started when, as law.

    civil, calendars, jitter    when does a specification match?
    fields, text, spec          what does a specification mean, and is it sound?
    state, machine              what is due now, may it start, and what does the end of a run mean?

Nothing here knows the time or a time zone's tables: both come in (`calendars.Zone`). The shell is
`perdure.engine.records.schedules`.
"""

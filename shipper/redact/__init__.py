"""Redaction: what must not leave the machine is taken out of the lines before anything else sees them.

`names` and `patterns` say what is looked for; `text` and `fields` find it in texts and in JSON; `actions` makes what
stands there instead; `rules` is a configuration compiled; `stage` applies it to batches, first lines and explanations.
"""

"""Tools that keep committed files true to the code; nothing here is installed."""

"""Engines: requests in, completions out. Heavy libraries are imported only in the child process that runs one."""

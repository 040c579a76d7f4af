"""The command line: verbs, flags, refusals, exit statuses, last words. Read ``flags`` first, then ``options``."""

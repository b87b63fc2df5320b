"""The pictures of a report, one kind per file: plain data in, a `Chart` out."""

"""The command line by room, put together by `ilf.cli`. Nothing heavy is imported before it is needed."""

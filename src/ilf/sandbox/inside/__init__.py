"""What runs inside the jails: standard library only, never imported by the parent's hot path."""

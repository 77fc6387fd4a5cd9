"""Other revisions of the code: found in git, copied to the store, and run in their own process."""

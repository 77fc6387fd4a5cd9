"""Messages that a sweep has ended, failed or stalled, to a webhook or a command."""

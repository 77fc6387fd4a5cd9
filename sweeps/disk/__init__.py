"""The disk of a store: what it holds, what can go, and what another store can add."""

"""The verdict store: schema, database, leases, batches, maintenance."""

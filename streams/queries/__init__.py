"""What can be asked: published rows, table views, promises by any policy, customers, reconciliation, audits."""

"""Customers: the ERP's master data, what the CRM adds, credit, and customers that are alike."""

"""ERP documents: headers and lines of sales orders, purchase orders and invoices, joined by their number."""

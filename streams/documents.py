"""The documents fold: the ERP's headers and lines meet, whichever comes first, and go on to the order or item they concern."""

from __future__ import annotations

from schemas import documents as rows
from schemas.topics import DOCUMENTS, DOCUMENTS_INBOX
from streams.engine.flow import Fold
from tables import erp_documents, invoice_documents, purchase_documents, sales_documents
from tables.documents import DocumentsTables

documents = Fold(DOCUMENTS, inbox=DOCUMENTS_INBOX, tables=DocumentsTables)

documents.on(rows.SalesOrderRow)(sales_documents.sales_order_changed)
documents.on(rows.SalesOrderLineRow)(sales_documents.sales_order_line_changed)
documents.on(rows.PurchaseOrderRow)(purchase_documents.purchase_order_changed)
documents.on(rows.PurchaseOrderLineRow)(purchase_documents.purchase_order_line_changed)
documents.on(rows.InvoiceRow)(invoice_documents.invoice_changed)
documents.on(rows.InvoiceLineRow)(invoice_documents.invoice_line_changed)
documents.on(rows.ErpDocumentsNews)(erp_documents.erp_documents_news)
documents.on(rows.ReviewErpDocuments)(erp_documents.review_erp_documents)
documents.on(rows.InvoiceLineJoined)(sales_documents.invoice_line_joined)
documents.on(rows.WarehouseReported)(sales_documents.warehouse_reported)
documents.release_on(rows.SalesOrderRow)

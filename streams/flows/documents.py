"""The documents fold: the ERP's headers and lines meet, whichever comes first, and go on to the order or item they concern."""

from __future__ import annotations

from schemas import documents as rows
from schemas.topics import DOCUMENTS, DOCUMENTS_INBOX
from streams.engine.flow import Fold
from tables.documents import document_tables, sales_orders
from tables.documents.state import DocumentsTables

documents = Fold(DOCUMENTS, inbox=DOCUMENTS_INBOX, tables=DocumentsTables)

for _kind, _rule in document_tables.RULES.items():
    documents.on(_kind)(_rule)
documents.on(rows.ErpDocumentsNews)(document_tables.erp_documents_news)
documents.on(rows.ReviewErpDocuments)(document_tables.review_erp_documents)
documents.on(rows.InvoiceLineJoined)(sales_orders.invoice_line_joined)
documents.on(rows.WarehouseReported)(sales_orders.warehouse_reported)
documents.release_on(rows.SalesOrderRow)

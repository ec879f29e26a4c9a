"""The documents fold: the ERP's headers and lines meet, whichever comes first, and go on to the order or item they concern."""

from __future__ import annotations

from schemas import documents as rows
from schemas.topics import DOCUMENTS, DOCUMENTS_INBOX
from streams.engine.flow import Fold
from tables import erp_documents, sales_documents
from tables.documents import DocumentsTables

documents = Fold(DOCUMENTS, inbox=DOCUMENTS_INBOX, tables=DocumentsTables)

for _kind, _rule in erp_documents.RULES.items():
    documents.on(_kind)(_rule)
documents.on(rows.ErpDocumentsNews)(erp_documents.erp_documents_news)
documents.on(rows.ReviewErpDocuments)(erp_documents.review_erp_documents)
documents.on(rows.InvoiceLineJoined)(sales_documents.invoice_line_joined)
documents.on(rows.WarehouseReported)(sales_documents.warehouse_reported)
documents.release_on(rows.SalesOrderRow)

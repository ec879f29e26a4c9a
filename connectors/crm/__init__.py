"""What a CRM says of customers: one JSON object a record on `raw.crm` (source `crm-customers`).

    {"customer": "C-17", "changed_at": "2026-11-02T09:14:07Z", "sequence": 12,
     "facts": {"email": "ap@acme.example", "street": "Main St 1", "postal_code": "60601", "terms": "NET60", "fax": null}}

`customer` is the ERP's number. `sequence` rises with each change of the customer: of each field the newest value counts, so
messages may repeat and overtake each other. `facts` holds the fields that changed, as text, whole numbers, true or false; null
says there is no such value any more. Contact and address (email, phone, contact, street, city, postal_code, country) and fields
nobody knows are kept as the CRM's; those the ERP owns (name, tax_id, terms, price_list, credit_limit, credit_hold, status) are
compared with the ERP's and never applied. Street with postal code or city also tells customers of one name apart.
"""

-- Legacy distribution ERP, order-to-cash and procure-to-receive core (PostgreSQL 15).
-- No foreign keys and no triggers, as the application (not the database) keeps the books.
-- The mix of timestamp flavours is deliberate: it grew over years.
-- Money and quantity are NUMERIC; quantities are in the item's base unit of measure.

CREATE TABLE site (
  site_code   varchar(6)  PRIMARY KEY,
  name        varchar(60) NOT NULL,
  timezone    varchar(40) NOT NULL
);

CREATE TABLE item (
  item_no         varchar(20) PRIMARY KEY,
  description     text,                          -- may be long: stored out of line (TOAST)
  base_uom        varchar(4)  NOT NULL,
  pack_uom        varchar(4),
  pack_qty        numeric(9,3),                  -- base units per pack
  lot_tracked     boolean     NOT NULL DEFAULT false,
  shelf_life_days integer,
  status          char(1)     NOT NULL DEFAULT 'A',   -- A active, H hold, D discontinued
  safety_stock    numeric(14,3) NOT NULL DEFAULT 0,
  updated_at      timestamp   NOT NULL DEFAULT localtimestamp,  -- server local time, no zone
  hazmat_class    varchar(8)
);

CREATE TABLE item_price (
  price_list  varchar(8)    NOT NULL,
  item_no     varchar(20)   NOT NULL,
  currency    char(3)       NOT NULL,
  unit_price  numeric(12,4) NOT NULL,
  valid_from  date          NOT NULL,
  valid_to    date,                               -- NULL or 9999-12-31: open-ended
  PRIMARY KEY (price_list, item_no, currency, valid_from)
);

CREATE TABLE customer (
  customer_no  varchar(10)  PRIMARY KEY,
  name         varchar(80)  NOT NULL,
  tax_id       varchar(20),
  email        varchar(120),
  credit_limit numeric,                           -- no precision: variable scale
  credit_hold  boolean      NOT NULL DEFAULT false,
  terms        char(6)      NOT NULL DEFAULT 'NET30',  -- blank-padded
  price_list   varchar(8)   NOT NULL,
  status       char(1)      NOT NULL DEFAULT 'A'  -- A active, I inactive
);

CREATE TABLE inventory_balance (
  site_code   varchar(6)    NOT NULL,
  item_no     varchar(20)   NOT NULL,
  on_hand     numeric(14,3) NOT NULL DEFAULT 0,
  allocated   numeric(14,3) NOT NULL DEFAULT 0,
  on_order    numeric(14,3) NOT NULL DEFAULT 0,
  row_version bigint        NOT NULL DEFAULT 1,
  updated_at  timestamptz   NOT NULL DEFAULT now(),
  PRIMARY KEY (site_code, item_no)
);

CREATE SEQUENCE order_seq START 4500001;
CREATE TABLE sales_order (
  order_no            varchar(12)  PRIMARY KEY,
  channel             varchar(8)   NOT NULL,      -- EDI, WEB, MKT, PHONE
  external_ref        varchar(40),                -- NOT unique: EDI resends happen
  customer_no         varchar(10)  NOT NULL,
  status              varchar(8)   NOT NULL,      -- OPEN HOLD ALLOC PART SHIPPED INVOICED CANCEL
  requested_ship_date date,
  created_at          timestamptz  NOT NULL DEFAULT now(),
  updated_at          timestamp(3) NOT NULL DEFAULT localtimestamp(3),  -- server local time
  priority           smallint     NOT NULL DEFAULT 5
);

CREATE TABLE sales_order_line (
  order_no      varchar(12)   NOT NULL,
  line_no       integer       NOT NULL,
  item_no       varchar(20)   NOT NULL,
  site_code     varchar(6)    NOT NULL,
  qty_ordered   numeric(14,3) NOT NULL,
  qty_allocated numeric(14,3) NOT NULL DEFAULT 0, -- currently reserved, not yet shipped
  qty_shipped   numeric(14,3) NOT NULL DEFAULT 0,
  qty_invoiced  numeric(14,3) NOT NULL DEFAULT 0,
  unit_price    numeric(12,4),
  status        char(1)       NOT NULL DEFAULT 'O', -- O open, A allocated, P part shipped, S shipped, I invoiced, X cancelled
  PRIMARY KEY (order_no, line_no)
);

CREATE SEQUENCE po_seq START 70001;
CREATE TABLE purchase_order (
  po_no     varchar(12) PRIMARY KEY,
  supplier  varchar(60) NOT NULL,
  status    varchar(8)  NOT NULL                  -- OPEN PART CLOSED CANCEL
);

CREATE TABLE purchase_order_line (
  po_no         varchar(12)   NOT NULL,
  line_no       integer       NOT NULL,
  item_no       varchar(20)   NOT NULL,
  site_code     varchar(6)    NOT NULL,
  qty_ordered   numeric(14,3) NOT NULL,
  qty_received  numeric(14,3) NOT NULL DEFAULT 0,
  expected_date date,
  status        char(1)       NOT NULL DEFAULT 'O', -- O open, P part received, C closed, X cancelled
  PRIMARY KEY (po_no, line_no)
);

CREATE SEQUENCE invoice_seq START 900001;
CREATE TABLE invoice (
  invoice_no varchar(12)   PRIMARY KEY,
  order_no   varchar(12)   NOT NULL,
  status     varchar(8)    NOT NULL,              -- POSTED PAID VOID
  total      numeric(14,2) NOT NULL,
  created_at timestamptz   NOT NULL DEFAULT now()
);

CREATE TABLE invoice_line (
  invoice_no    varchar(12)   NOT NULL,
  line_no       integer       NOT NULL,
  order_line_no integer       NOT NULL,
  item_no       varchar(20)   NOT NULL,
  qty           numeric(14,3) NOT NULL,
  unit_price    numeric(12,4),
  amount        numeric(14,2) NOT NULL,
  PRIMARY KEY (invoice_no, line_no)
);

-- Change-data-capture set-up (done once by the DBA) ---------------------------------
CREATE TABLE debezium_signal (id varchar(64) PRIMARY KEY, type varchar(32) NOT NULL, data varchar(2048));
-- Debezium writes here now and then: without a change of a published table the slot would hold back the whole server's WAL.
CREATE TABLE debezium_heartbeat (id integer PRIMARY KEY, at timestamptz NOT NULL);
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'cdc_reader') THEN
    CREATE ROLE cdc_reader LOGIN REPLICATION PASSWORD 'cdc_reader';
  END IF;
END $$;
GRANT USAGE ON SCHEMA public TO cdc_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO cdc_reader;
GRANT INSERT, UPDATE, DELETE ON debezium_signal, debezium_heartbeat TO cdc_reader;
CREATE PUBLICATION erp_cdc FOR TABLE site, item, item_price, customer, inventory_balance, sales_order,
  sales_order_line, purchase_order, purchase_order_line, invoice, invoice_line, debezium_signal, debezium_heartbeat;

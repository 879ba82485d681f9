-- The table of cluster/pipeline.yaml, made by the image of PostgreSQL at its first start.
CREATE TABLE orders (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer text NOT NULL,
  quantity integer NOT NULL
);

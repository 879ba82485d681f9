/**
 * The work of the WAL benchmarks: one table of ten columns and about 300 bytes a row, updated in transactions of one
 * size, kept by a master slot that every run copies. So all sides read the same bytes from the same place.
 */
import { Client } from 'pg'
import type { WorkShape } from '../harness/tally.js'

export const walKeys = 1_000
export const publication = 'bench_rows_pub'
const master = 'bench_master'

export interface WalWork {
  readonly shape: WorkShape
  /** A slot of its own at the begin of the work. Named anew each time. */
  copySlot(): Promise<string>
  dropSlots(): Promise<void>
  close(): Promise<void>
}

/** Makes the table once for a server. */
export async function prepareTable(url: string): Promise<void> {
  const client = await connect(url)
  const pad = (letter: string) => `repeat('${letter}', 38)`
  try {
    await client.query(`
      CREATE TABLE bench_rows (
        key integer PRIMARY KEY, counter integer NOT NULL, amount integer NOT NULL,
        a text, b text, c text, d text, e text, f text, due bigint NOT NULL DEFAULT 0
      ) WITH (fillfactor = 20, autovacuum_enabled = false)`)
    await client.query(`
      INSERT INTO bench_rows SELECT n, 0, 0, ${['a', 'b', 'c', 'd', 'e', 'f'].map(pad).join(', ')}
      FROM generate_series(0, ${walKeys - 1}) n`)
    await client.query(`CREATE PUBLICATION ${publication} FOR TABLE bench_rows`)
  } finally {
    await client.end()
  }
}

/** Writes `total` row changes, `size` a transaction (`size` divides 1,000 and `total`). */
export async function writeWal(url: string, size: number, shape: WorkShape): Promise<WalWork> {
  const client = await connect(url)
  await client.query('UPDATE bench_rows SET counter = 0, amount = 0')
  await dropSlots(client, true)
  await client.query(`SELECT pg_create_logical_replication_slot('${master}', 'pgoutput')`)
  await client.query('SET synchronous_commit = off')
  await client.query('SET enable_seqscan = off')
  await client.query(`
    DO $work$
    DECLARE
      sequence integer := 0;
      first integer;
      turn integer;
    BEGIN
      WHILE sequence < ${shape.total} LOOP
        first := sequence % ${walKeys};
        turn := sequence / ${walKeys} + 1;
        UPDATE bench_rows SET counter = turn, amount = (key * 31 + turn * 7) % 1000 + 1
          WHERE key >= first AND key < first + ${size};
        sequence := sequence + ${size};
        COMMIT;
      END LOOP;
    END
    $work$`)
  await client.query('CHECKPOINT')
  let number = 0
  return {
    shape,
    async copySlot() {
      const name = `bench_run_${++number}`
      await client.query(`SELECT pg_copy_logical_replication_slot('${master}', '${name}', false)`)
      return name
    },
    dropSlots: () => dropSlots(client, false),
    async close() {
      await dropSlots(client, true)
      await client.end()
    },
  }
}

async function connect(url: string): Promise<Client> {
  const client = new Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  return client
}

/** Slots of ended runs; a walsender that has not noticed yet is ended. */
async function dropSlots(client: Client, masterToo: boolean): Promise<void> {
  const which = masterToo ? `slot_name LIKE 'bench\\_%'` : `slot_name LIKE 'bench\\_run\\_%'`
  for (let attempt = 0; attempt < 200; attempt++) {
    await client.query(`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE ${which} AND active`)
    await client.query(
      `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE ${which} AND NOT active`,
    )
    const left = await client.query(`SELECT 1 FROM pg_replication_slots WHERE ${which}`)
    if (left.rowCount === 0) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error('slots of earlier runs cannot be dropped')
}

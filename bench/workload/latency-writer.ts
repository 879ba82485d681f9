/**
 * Writes rows at a fixed rate, open-loop: 20 rows a transaction over four connections, each row with the microsecond at
 * which its transaction was due. What was delayed is written as fast as possible and keeps its due time. SIGTERM: ends
 * after the transactions that are under way.
 *
 * Each commit waits for its fsync, as is PostgreSQL's default. One that does not (synchronous_commit = off) is sent to
 * nobody until the WAL writer wakes, up to 200 ms later: then that pause is what is measured.
 */
import { Client } from 'pg'

const rowsPerTransaction = 20
const connections = 4
/** Each connection has keys of its own, so none waits for another's locks. */
const keysOfEach = 12 * rowsPerTransaction

const input = JSON.parse(process.argv[2]!) as { readonly url: string; readonly rate: number; readonly total: number }
const start = Date.now() + 50
const share = input.total / connections
let over = false
process.once('SIGTERM', () => {
  over = true
})

async function write(connection: number): Promise<void> {
  const client = new Client({ connectionString: input.url })
  await client.connect()
  const rate = input.rate / connections
  for (let written = 0; written < share && !over; written += rowsPerTransaction) {
    const due = start + ((written + rowsPerTransaction) * 1000) / rate
    const wait = due - Date.now()
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait))
    const first = connection * keysOfEach + (written % keysOfEach)
    await client.query(
      `UPDATE bench_rows SET counter = counter + 1, due = ${Math.round(due * 1000)} WHERE key >= ${first} AND key < ${first + rowsPerTransaction}`,
    )
  }
  await client.end()
}

await Promise.all(Array.from({ length: connections }, (_, connection) => write(connection)))

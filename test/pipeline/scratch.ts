/** Files of a test, in a directory of their own that goes with it. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { onTestFinished } from 'vitest'

export function scratch(files: Readonly<Record<string, string>> = {}): (name: string) => string {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'troupe-test-')))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true })
    writeFileSync(join(directory, name), text)
  }
  return (name) => join(directory, name)
}

/** A valid pipeline, line by line, for tests to break one line of. */
export const shop = `name: shop
sources:
  db:
    kind: postgres
    url: postgres://app:hunter2@localhost/shop
    tables: [public.orders]
  clicks:
    kind: redis-streams
    url: redis://localhost:6379/0
    streams: [clicks]
processors:
  orders:
    from: [db]
    order: key
    filter: { entities: [orders] }
    sink: { kind: jsonl, path: out.jsonl }
  clicks:
    from: clicks
    sink:
      kind: redis
      url: redis://localhost:6379/1
      write: stream
`

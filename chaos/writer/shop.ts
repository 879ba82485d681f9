/**
 * The shop: what one lane writes next. Pure: a seed gives the same transactions, and the model moves only when the
 * caller says that a transaction was committed.
 *
 * Every change bumps the counter of its key, inserts after a delete too, so (key, counter) names each change for ever.
 */
import type { ChangeKind, LedgerChange } from '../ledger/format.js'
import type { Seeded } from '../seed.js'

/** Both tables are published with the whole old row, so that a delete bears its counter. */
export const shopSchema = [
  `CREATE TABLE IF NOT EXISTS customers (
     key text PRIMARY KEY, writer text NOT NULL, counter bigint NOT NULL,
     name text NOT NULL, city text, email text NOT NULL, changed_at timestamptz NOT NULL DEFAULT clock_timestamp())`,
  `CREATE TABLE IF NOT EXISTS orders (
     key text PRIMARY KEY, writer text NOT NULL, counter bigint NOT NULL,
     customer text NOT NULL, product text NOT NULL, quantity integer NOT NULL, unit_cents bigint NOT NULL,
     status text NOT NULL, note text, changed_at timestamptz NOT NULL DEFAULT clock_timestamp())`,
  'ALTER TABLE customers REPLICA IDENTITY FULL',
  'ALTER TABLE orders REPLICA IDENTITY FULL',
]

export const shopTables = ['public.customers', 'public.orders']

type Table = 'customers' | 'orders'

export interface ShopTransaction {
  readonly changes: readonly LedgerChange[]
  /** Statements without BEGIN and COMMIT. */
  readonly statements: readonly string[]
  readonly commit: () => void
}

const cities = ['Aachen', 'Bergen', 'Cork', 'Dijon', 'Evora', "L'Aquila", null]
const products = ['tea', 'coffee', 'cocoa', 'mate', 'water', 'cordial 0,7 l', 'crème brûlée', '抹茶']
const statuses = ['new', 'paid', 'packed', 'sent', 'returned']

interface KeyState {
  counter: number
  exists: boolean
}

export interface ShopModel {
  next(): ShopTransaction
}

export function createShop(lane: string, writer: string, keys: number, seed: Seeded): ShopModel {
  const committed = new Map<string, KeyState>()

  /** A draft of one transaction: sees its own changes, leaves the model alone. */
  function draft() {
    const touched = new Map<string, KeyState>()
    const changes: LedgerChange[] = []
    const statements: string[] = []
    const stateOf = (key: string) => touched.get(key) ?? committed.get(key) ?? { counter: 0, exists: false }
    const bump = (key: string, kind: ChangeKind, exists: boolean) => {
      const counter = stateOf(key).counter + 1
      touched.set(key, { counter, exists })
      changes.push([key, counter, kind])
      return counter
    }
    return {
      stateOf,
      /** Inserts the row, or changes it where it exists. */
      put(table: Table, key: string) {
        const kind = stateOf(key).exists ? 'update' : 'insert'
        const counter = bump(key, kind, true)
        const columns = table === 'customers' ? customer(seed) : order(lane, keys, seed)
        statements.push(
          kind === 'insert'
            ? insertOf(table, key, writer, counter, columns)
            : updateOf(table, key, counter, columns, seed),
        )
      },
      remove(table: Table, key: string) {
        if (!stateOf(key).exists) return
        bump(key, 'delete', false)
        statements.push(`DELETE FROM ${table} WHERE key = ${quote(key)}`)
      },
      finish(): ShopTransaction {
        return {
          changes,
          statements,
          commit: () => {
            for (const [key, state] of touched) committed.set(key, state)
          },
        }
      },
    }
  }

  const customerKey = () => `${lane}/c${seed.below(keys)}`
  const orderKey = () => `${lane}/o${seed.below(keys * 4)}`

  return {
    next() {
      const transaction = draft()
      const kind = seed.next()
      if (kind < 0.45) transaction.put('orders', orderKey())
      else if (kind < 0.6) transaction.put('customers', customerKey())
      else if (kind < 0.7) {
        // A customer with a basket: several rows of two tables.
        transaction.put('customers', customerKey())
        for (let left = 2 + seed.below(6); left > 0; left--) transaction.put('orders', orderKey())
      } else if (kind < 0.75) {
        // The nightly run: many rows, some of them twice.
        for (let left = 20 + seed.below(60); left > 0; left--) transaction.put('orders', orderKey())
      } else {
        const key = orderKey()
        if (kind < 0.8) transaction.put('orders', key)
        if (transaction.stateOf(key).exists) transaction.remove('orders', key)
        else transaction.put('orders', key)
        if (kind > 0.97) transaction.remove('customers', customerKey())
      }
      return transaction.finish()
    },
  }
}

type Literals = Readonly<Record<string, string>>

function customer(seed: Seeded): Literals {
  const number = seed.below(100_000)
  return {
    name: quote(`Customer ${number}`),
    city: quote(seed.pick(cities)),
    email: quote(`c${number}@example.org`),
  }
}

function order(lane: string, keys: number, seed: Seeded): Literals {
  return {
    customer: quote(`${lane}/c${seed.below(keys)}`),
    product: quote(seed.pick(products)),
    quantity: String(1 + seed.below(9)),
    unit_cents: String(50 + seed.below(5_000)),
    status: quote(seed.pick(statuses)),
    note: seed.next() < 0.3 ? 'NULL' : quote('n'.repeat(seed.below(160))),
  }
}

function insertOf(table: Table, key: string, writer: string, counter: number, columns: Literals): string {
  const names = Object.keys(columns).join(', ')
  const values = Object.values(columns).join(', ')
  return `INSERT INTO ${table} (key, writer, counter, ${names}) VALUES (${quote(key)}, ${quote(writer)}, ${counter}, ${values})`
}

function updateOf(table: Table, key: string, counter: number, columns: Literals, seed: Seeded): string {
  // Now and then only some columns change, as an application would do it.
  const some = Object.entries(columns).filter(() => seed.next() < 0.6)
  const sets = some.map(([name, value]) => `${name} = ${value}`)
  return `UPDATE ${table} SET ${[`counter = ${counter}`, 'changed_at = clock_timestamp()', ...sets].join(', ')} WHERE key = ${quote(key)}`
}

function quote(text: string | null): string {
  return text === null ? 'NULL' : `'${text.replaceAll("'", "''")}'`
}

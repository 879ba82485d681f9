/**
 * Turns the messages of pgoutput (protocol version 1, text format) into records of a lane.
 *
 * Positions are (commit LSN, ordinal, part): the ordinal counts every row, truncated table and message that the server sends
 * in the transaction, before any filter of ours, so that a replay under another filter gives the same ids. A key change
 * is a delete (part 0) and an insert (part 1) of one ordinal. Non-transactional messages stand at their own LSN, ordinal 1.
 *
 * Promises: `endLsn` is the end of the last transaction of which every record was recorded, nothing more. Rows are never decoded
 * here, only their key's bytes are looked at. Waits (`wait`) where it must: at a relation that the catalog has not
 * explained yet, and at a truncate. Does no I/O and sees no clock.
 */
import { blankHead, type RecordHead, type TableSpec } from '../../event/frame.js'
import { hashBytes, hashText } from '../../event/hash.js'
import { operationOf } from '../../event/layout.js'
import { messageTable } from '../../event/pgoutput.js'
import type { Position } from '../../event/position.js'
import { lacksColumns, noTuple, sameTupleKey, tupleEnd, tupleKeyHash, tupleKind } from '../../event/tuple.js'
import { TroupeError } from '../../world/error.js'
import type { LaneOutput } from '../source.js'
import { type RelationMessage, readRelation } from './relation.js'

/** A relation, explained: its key and its spec for the lane. */
export interface ExplainedRelation {
  readonly key: readonly number[]
  readonly table: (index: number) => TableSpec
}

export interface PgoutputReaderOptions {
  readonly lane: LaneOutput
  /** Records at or below it were appended before: they are counted and skipped. */
  readonly appended: Position | null
  /** Explains a relation from what is known, or asks the server. */
  explain(relation: RelationMessage, message: Uint8Array): ExplainedRelation | Promise<ExplainedRelation>
  /** Hands over no further message until the promise has settled; a rejection fails the reader. */
  wait(until: Promise<void>): void
  /** Resolves when everything that was appended, by earlier readers too, is processed. */
  settled(): Promise<void>
}

export interface PgoutputReader {
  /** One message: `bytes[start..end)` begins with its type. Never called while waiting. */
  message(bytes: Uint8Array, start: number, end: number): void
  /** True between Begin and Commit. */
  readonly open: boolean
  /** End LSN of the last complete transaction; null before the first. */
  readonly endLsn: bigint | null
  readonly counts: Readonly<Record<'transactions' | 'rows' | 'recorded' | 'skipped', number>>
}

/** One table of the lane. */
interface Table {
  readonly index: number
  readonly key: readonly number[]
  /** What rows without a key are routed by. */
  readonly entityHash: number
  /** The Relation message it came from. */
  readonly message: Uint8Array
}

const BEGIN = 0x42
const COMMIT = 0x43
const DELETE = 0x44
const INSERT = 0x49
const RELATION = 0x52
const UPDATE = 0x55
const TRUNCATE = 0x54
const MESSAGE = 0x4d
const ORIGIN = 0x4f
const TYPE = 0x59

/** In Insert, Update and Delete: what is recorded begins after type and relation, its first tuple a byte later. */
const rowBody = 5
const rowTuple = 6
/** Index of the table that stands for logical decoding messages; relations follow. */
const messageIndex = 0
const maxTables = 65_534
/** Seconds between 1970-01-01 and 2000-01-01, PostgreSQL's origin of time, in microseconds. */
const postgresEpochMicros = 946_684_800_000_000

function u32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0
}

export function createPgoutputReader(options: PgoutputReaderOptions): PgoutputReader {
  const { lane } = options
  const tables = new Map<number, Table>()
  const counts = { transactions: 0, rows: 0, recorded: 0, skipped: 0 }
  let lastOid = -1
  let lastTable: Table | undefined
  let open = false
  let ordinal = 0
  /** Of the last commit, as halves: no bigint for each transaction. -1: none yet. */
  let endHigh = -1
  let endLow = 0
  let skipping = options.appended !== null
  const skip = options.appended ?? { major: 0n, minor: 0n, part: 0 }

  const head = blankHead()

  lane.table(messageTable(messageIndex))

  function begin(bytes: Uint8Array, start: number): void {
    open = true
    ordinal = 0
    head.majorHigh = u32(bytes, start + 1)
    head.majorLow = u32(bytes, start + 5)
    head.timeMicros = (u32(bytes, start + 9) | 0) * 0x1_0000_0000 + u32(bytes, start + 13) + postgresEpochMicros
    head.transaction = u32(bytes, start + 17)
  }

  function commit(bytes: Uint8Array, start: number): void {
    open = false
    endHigh = u32(bytes, start + 10)
    endLow = u32(bytes, start + 14)
    counts.transactions++
  }

  function nextOrdinal(): void {
    ordinal++
    counts.rows++
    head.minorHigh = Math.floor(ordinal / 0x1_0000_0000)
    head.minorLow = ordinal >>> 0
  }

  function tableOf(oid: number): Table {
    if (oid === lastOid) return lastTable!
    const table = tables.get(oid)
    if (table === undefined) throw unexpected(`a row of the relation ${oid}, which was never announced`)
    lastOid = oid
    lastTable = table
    return table
  }

  function record(bytes: Uint8Array, start: number, end: number): void {
    if (skipping && wasAppended()) {
      counts.skipped++
      return
    }
    counts.recorded++
    lane.record(head, bytes, start, end)
  }

  function wasAppended(): boolean {
    const major = (BigInt(head.majorHigh) << 32n) | BigInt(head.majorLow)
    const before =
      major !== skip.major
        ? major < skip.major
        : BigInt(ordinal) !== skip.minor
          ? BigInt(ordinal) < skip.minor
          : head.part <= skip.part
    if (!before) skipping = false
    return before
  }

  function keyHash(bytes: Uint8Array, table: Table, tuple: number, old: number): number {
    return table.key.length === 0 ? table.entityHash : tupleKeyHash(bytes, tuple, old, table.key)
  }

  function put(operation: number, table: Table, bytes: Uint8Array, start: number, end: number): void {
    head.table = table.index
    head.operation = operation
    head.part = 0
    head.incomplete = false
    record(bytes, start + rowBody, end)
  }

  function insert(bytes: Uint8Array, start: number, end: number): void {
    nextOrdinal()
    const table = tableOf(u32(bytes, start + 1))
    if (!lane.wants(table.index, 'insert')) return
    head.keyHash = keyHash(bytes, table, start + rowTuple, noTuple)
    put(operationOf.insert, table, bytes, start, end)
  }

  function remove(bytes: Uint8Array, start: number, end: number): void {
    nextOrdinal()
    const table = tableOf(u32(bytes, start + 1))
    if (!lane.wants(table.index, 'delete')) return
    head.keyHash = keyHash(bytes, table, start + rowTuple, noTuple)
    put(operationOf.delete, table, bytes, start, end)
  }

  function update(bytes: Uint8Array, start: number, end: number): void {
    nextOrdinal()
    const table = tableOf(u32(bytes, start + 1))
    const alone = bytes[start + rowBody] === tupleKind.new
    const old = alone ? noTuple : start + rowTuple
    const tuple = alone ? start + rowTuple : tupleEnd(bytes, old) + 1
    if (!alone && !sameTupleKey(bytes, tuple, old, table.key)) {
      changeKey(bytes, start, end, table, tuple)
      return
    }
    if (!lane.wants(table.index, 'update')) return
    head.keyHash = keyHash(bytes, table, tuple, old)
    put(operationOf.update, table, bytes, start, end)
  }

  function changeKey(bytes: Uint8Array, start: number, end: number, table: Table, tuple: number): void {
    const old = start + rowTuple
    if (lane.wants(table.index, 'delete')) {
      head.keyHash = tupleKeyHash(bytes, old, noTuple, table.key)
      put(operationOf.delete, table, bytes, start, end)
    }
    if (!lane.wants(table.index, 'insert')) return
    head.table = table.index
    head.operation = operationOf.insert
    head.part = 1
    head.incomplete = bytes[start + rowBody] === tupleKind.key && lacksColumns(bytes, tuple)
    head.keyHash = tupleKeyHash(bytes, tuple, old, table.key)
    record(bytes, start + rowBody, end)
  }

  /** One message may name several tables: each has its ordinal and its barrier, one after the other. */
  function truncate(bytes: Uint8Array, start: number): void {
    // Its option byte; copied, since it is read after this call has returned.
    const body = bytes.slice(start + 5, start + 6)
    const count = u32(bytes, start + 1)
    const heads: RecordHead[] = []
    let passed = false
    head.part = 0
    head.incomplete = false
    head.operation = operationOf.truncate
    for (let index = 0; index < count; index++) {
      nextOrdinal()
      const table = tableOf(u32(bytes, start + 6 + index * 4))
      if (!lane.wants(table.index, 'truncate')) continue
      if (skipping && wasAppended()) {
        counts.skipped++
        passed = true
        continue
      }
      heads.push({ ...head, table: table.index, keyHash: 0 })
    }
    if (heads.length > 0) options.wait(barriers(heads, body))
    // Appended by the reader before this one, and perhaps still on its way: nothing may overtake it all the same.
    else if (passed) options.wait(options.settled())
  }

  async function barriers(heads: readonly RecordHead[], body: Uint8Array): Promise<void> {
    for (const each of heads) {
      counts.recorded++
      await lane.barrier(each, body, 0, body.length)
    }
  }

  function message(bytes: Uint8Array, start: number, end: number): void {
    if (!open) {
      // Outside of a transaction: it stands where it was written, and belongs to none.
      head.majorHigh = u32(bytes, start + 2)
      head.majorLow = u32(bytes, start + 6)
      head.timeMicros = Number.NaN
      head.transaction = 0
      ordinal = 0
    }
    nextOrdinal()
    if (!lane.wants(messageIndex, 'message')) return
    const prefixEnd = bytes.indexOf(0, start + 10)
    head.table = messageIndex
    head.operation = operationOf.message
    head.part = 0
    head.incomplete = false
    head.keyHash = hashBytes(bytes, start + 10, prefixEnd)
    record(bytes, start + 1, end)
  }

  function relation(bytes: Uint8Array, start: number, end: number): void {
    const oid = u32(bytes, start + 1)
    const known = tables.get(oid)
    const raw = bytes.slice(start, end)
    // Announced again as it was (after an invalidation that changed nothing here).
    if (known !== undefined && Buffer.compare(known.message, raw) === 0) return
    const announced = readRelation(raw, 0, raw.length)
    const explained = options.explain(announced, raw)
    if (explained instanceof Promise) options.wait(explained.then((later) => register(announced, raw, later)))
    else register(announced, raw, explained)
  }

  function register(announced: RelationMessage, raw: Uint8Array, explained: ExplainedRelation): void {
    const index = tables.get(announced.oid)?.index ?? tables.size + 1
    if (index > maxTables)
      throw new TroupeError({
        code: 'too-many-tables',
        message: `more than ${maxTables} tables in one publication`,
        remedy: 'divide the tables over several publications and sources',
        permanent: true,
      })
    lane.table(explained.table(index))
    tables.set(announced.oid, {
      index,
      key: explained.key,
      entityHash: hashText(`${announced.namespace}.${announced.name}`),
      message: raw,
    })
    lastOid = -1
  }

  return {
    message(bytes, start, end) {
      switch (bytes[start]) {
        case INSERT:
          insert(bytes, start, end)
          return
        case UPDATE:
          update(bytes, start, end)
          return
        case DELETE:
          remove(bytes, start, end)
          return
        case BEGIN:
          begin(bytes, start)
          return
        case COMMIT:
          commit(bytes, start)
          return
        case RELATION:
          relation(bytes, start, end)
          return
        case TRUNCATE:
          truncate(bytes, start)
          return
        case MESSAGE:
          message(bytes, start, end)
          return
        // Type names are read from the catalog, with all that pgoutput does not say; an origin changes no row.
        case TYPE:
        case ORIGIN:
          return
        default:
          throw unexpected(`a message of type ${JSON.stringify(String.fromCharCode(bytes[start] ?? 0))}`)
      }
    },
    get open() {
      return open
    },
    get endLsn() {
      return endHigh < 0 ? null : (BigInt(endHigh) << 32n) | BigInt(endLow)
    },
    counts,
  }
}

function unexpected(what: string): TroupeError {
  return new TroupeError({
    code: 'pgoutput-unexpected',
    message: `the server sent ${what}, which protocol version 1 of pgoutput does not allow`,
    remedy: "report this with the server's version; the reader starts again from its checkpoint",
  })
}

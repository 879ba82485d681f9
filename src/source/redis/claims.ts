/**
 * Takes over what earlier terms of this reader left pending in a group, in id order.
 *
 * Consumers are named `<source>.<term>`. Only those of other terms are touched: other consumers of the group are other
 * people's. A higher term whose connection lives means that we are the zombie; one that is dead means that our store ran
 * backwards (an older copy was put back), and what it left is ours like that of the others.
 *
 * A term that a log lost with its tail is given a second time, and then two readers bear one name. Their connections end
 * each other (the later the earlier's); but what the other was given is pending under our own name, and we know nothing of
 * it. It shows as more pending entries than we have read, where the stream is quiet between two looks, and is claimed then.
 */
import type { EntryBatch } from '../../wire/resp-entries.js'
import { entryWalker } from '../../wire/resp-entries.js'
import { respCommand } from '../../wire/resp-writer.js'
import { TroupeError } from '../../world/error.js'
import type { RedisAdmin } from './admin.js'
import { pairs } from './admin.js'
import { type EntryId, idAfter, idOfText, idText } from './entry-id.js'

const PAGE = 500

/** Removes a consumer only if it has nothing pending, in one step: a zombie may take entries between two commands. */
const DELETE_IF_EMPTY =
  "if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) end return -1"

export interface ClaimOptions {
  readonly admin: RedisAdmin
  readonly group: string
  readonly source: string
  readonly term: number
  readonly streams: readonly string[]
  readonly keyField: string | null
  /** Name of our connections without the term; tells whether another term's live. */
  readonly client: string
  /** Resolves when there is room for more, or the reader stops. */
  readonly room: () => Promise<void>
  readonly stopped: () => boolean
  /** What is pending of this stream as far as we know, and whether this entry is. */
  readonly held: (stream: string) => number
  readonly knows: (stream: string, id: EntryId) => boolean
  /** Entries read so far. */
  readonly read: () => number
  /** Most entries that one read brings. */
  readonly count: number
  /** Entries of one page, ascending by id. */
  readonly record: (batch: EntryBatch) => void
  /** Pending, and no longer in the stream. */
  readonly gone: (stream: string, ids: readonly EntryId[]) => void
}

export interface Claims {
  /** Everything that is pending of older terms now; resolves with the number of entries claimed. */
  takeAll(): Promise<number>
  /**
   * Cheaper: asks first whether any older consumer has something pending, or our own something that we do not know of.
   * Removes older consumers that have nothing.
   */
  look(): Promise<number>
}

interface Consumer {
  readonly name: string
  readonly term: number
  readonly pending: number
}

export function claims(options: ClaimOptions): Claims {
  const { admin, group, source, term } = options
  const consumer = `${source}.${term}`
  let mayDelete = true
  /** As of the last look: entries read, and by stream how many more were pending under our name than we knew of. */
  let readBefore = -1
  const surplus = new Map<string, number>()
  /** By stream: a surplus that was looked into, and was nothing to claim. */
  const explained = new Map<string, number>()

  /** The term of a consumer of this source; null for anybody else's. */
  function termOf(name: string): number | null {
    if (!name.startsWith(`${source}.`)) return null
    const text = name.slice(source.length + 1)
    return /^\d{1,15}$/.test(text) ? Number(text) : null
  }

  /**
   * @param ours whether an entry that is pending under our own name is to be claimed too: at the start all are, of an earlier
   * life with this term
   */
  async function takeStream(stream: string, ours: (id: EntryId) => boolean): Promise<number> {
    let taken = 0
    let from = '-'
    while (!options.stopped()) {
      const rows = (await admin.call('XPENDING', stream, group, from, '+', String(PAGE))) as readonly [string, string][]
      const last = rows.at(-1)
      if (last === undefined) break
      const ids = rows
        .filter(([id, owner]) => (owner === consumer ? ours(idOfText(id)) : termOf(owner) !== null))
        .map(([id]) => id)
      if (ids.length > 0) {
        await options.room()
        if (options.stopped()) break
        taken += await claim(stream, ids)
      }
      if (rows.length < PAGE) break
      from = idText(idAfter(idOfText(last[0])))
    }
    return taken
  }

  async function claim(stream: string, ids: readonly string[]): Promise<number> {
    const reply = (await admin.callBytes('XCLAIM', stream, group, consumer, '0', ...ids)) as readonly (
      | readonly [Buffer, readonly Buffer[] | null]
      | null
    )[]
    const entries = reply.filter((one): one is readonly [Buffer, readonly Buffer[]] => one?.[1] != null)
    const found = new Set(entries.map(([id]) => id.toString('latin1')))
    const missing = ids.filter((id) => !found.has(id)).map(idOfText)
    const gone: EntryId[] = []
    // Not given to us: either acknowledged meanwhile, or removed from the stream while it was pending.
    for (const id of missing) if ((await admin.entry(stream, id)) === null) gone.push(id)
    if (gone.length > 0) {
      options.gone(stream, gone)
      await admin.call('XACK', stream, group, ...gone.map(idText))
    }
    if (entries.length > 0) recordEntries(stream, entries)
    return entries.length
  }

  /** Puts entries that ioredis decoded into the form that the hot path reads. */
  function recordEntries(stream: string, entries: readonly (readonly [Buffer, readonly Buffer[]])[]): void {
    const parts: Uint8Array[] = [
      Buffer.from(`*1\r\n*2\r\n`),
      bulk(Buffer.from(stream)),
      Buffer.from(`*${entries.length}\r\n`),
    ]
    for (const [id, fields] of entries) parts.push(Buffer.from('*2\r\n'), bulk(id), respCommand(fields))
    const bytes = Buffer.concat(parts)
    const keyField = options.keyField === null ? null : Buffer.from(options.keyField)
    const names = options.streams.map((name) => Buffer.from(name))
    const fail = (message: string) => {
      throw new Error(message)
    }
    entryWalker({ streams: names, keyField }, { reply: options.record, part: options.record, error: fail }).consume(
      bytes,
      0,
      bytes.length,
    )
  }

  /** Consumers of this source, of whatever term. */
  async function consumers(stream: string): Promise<readonly Consumer[]> {
    const rows = (await admin.call('XINFO', 'CONSUMERS', stream, group)) as readonly unknown[]
    return rows.flatMap((row) => {
      const fields = pairs(row)
      const name = String(fields.get('name'))
      const consumerTerm = termOf(name)
      return consumerTerm === null ? [] : [{ name, term: consumerTerm, pending: Number(fields.get('pending')) }]
    })
  }

  /** A read that is on its way to us makes a difference too: at most as large as one read is, and not twice the same. */
  function hasUnknown(stream: string, pending: number, quiet: boolean): boolean {
    const more = pending - options.held(stream)
    const before = surplus.get(stream)
    surplus.set(stream, more)
    if (more <= (explained.get(stream) ?? 0)) return false
    return (quiet && more === before) || more > 2 * options.count
  }

  async function checkSuperseded(all: readonly Consumer[]): Promise<void> {
    for (const newer of all.filter((one) => one.term > term)) {
      const clients = String(await admin.call('CLIENT', 'LIST'))
      if (!clients.includes(` name=${options.client}.${newer.term} `)) continue
      throw new TroupeError({
        code: 'superseded',
        message: `consumer ${newer.name} of group ${group} is at work, and of a later term than ours (${term})`,
        place: `source ${source}`,
        remedy: 'another node reads this source now; this reader ends',
      })
    }
  }

  async function remove(stream: string, name: string): Promise<void> {
    if (!mayDelete) return
    try {
      await admin.call('EVAL', DELETE_IF_EMPTY, '1', stream, group, name)
    } catch {
      // Scripts are denied here: an empty consumer is only a name, and stays.
      mayDelete = false
    }
  }

  return {
    async takeAll() {
      let taken = 0
      for (const stream of options.streams) {
        await checkSuperseded(await consumers(stream))
        taken += await takeStream(stream, () => true)
      }
      return taken
    },
    async look() {
      let taken = 0
      const readNow = options.read()
      const quiet = readNow === readBefore
      readBefore = readNow
      for (const stream of options.streams) {
        const all = await consumers(stream)
        const others = all.filter((one) => one.name !== consumer)
        await checkSuperseded(others)
        for (const one of others) if (one.pending === 0) await remove(stream, one.name)
        const own = all.find((one) => one.name === consumer)
        const unknown = hasUnknown(stream, own?.pending ?? 0, quiet)
        if (!unknown && others.every((one) => one.pending === 0)) continue
        const found = await takeStream(stream, (id) => unknown && !options.knows(stream, id))
        if (unknown && found === 0) explained.set(stream, surplus.get(stream)!)
        taken += found
      }
      return taken
    },
  }
}

function bulk(bytes: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n')])
}

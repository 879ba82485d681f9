/**
 * The promises of the cluster's log, checked where they are kept or broken: as the broker stores, forgets and removes, as
 * the sources forget, and as the targets are written.
 */

import type { LaneVector } from '../../../src/checkpoint/checkpoint.js'
import { dataView, head, headerBytes } from '../../../src/event/layout.js'
import { readFrameHeader } from '../../../src/event/open.js'
import { comparePositions, formatPosition, type Position, parsePosition } from '../../../src/event/position.js'
import { decodeProcessor, decodeReader } from '../../../src/log/jetstream/stored.js'
import type { Target } from './effects.js'
import type { Change, Truth } from './sources.js'
import type { Stored, StoreObserver } from './stream-store.js'

/** A frame as it was stored, and what stood there before it. */
interface Framed {
  readonly at: number
  readonly sequence: number
  readonly source: string
  readonly lane: string
  readonly ordered: boolean
  readonly last: Position
  readonly mark: string
  readonly changes: readonly Change[]
  readonly beforeOfLane: Framed | undefined
  readonly beforeOfSource: Framed | undefined
}

interface Owned {
  readonly term: number
  readonly owner: string
  readonly before: Owned | undefined
}

export interface Checker extends StoreObserver {
  readonly violations: string[]
  violation(text: string): void
  /** A processor of this owner wrote a change that its target had seen before. */
  repeated(processor: string, scope: string, partition: number, owner: string, change: Change): void
  /** A source forgets these changes now. */
  forgotten(changes: readonly Change[]): void
  /** Changes that some target has not seen: a few of them, as text. */
  undelivered(): string[]
  lostMessages: number
}

export interface CheckerInit {
  readonly now: () => number
  /** Written into the trace. */
  readonly note: (text: string) => void
  readonly truth: Truth
  readonly targets: readonly Target[]
  /** By scope: number of partitions. */
  readonly scopes: ReadonlyMap<string, number>
  readonly syncInterval: number
  readonly frames: (scope: string, partition: number) => string
  readonly reader: (source: string) => string
  readonly processor: (processor: string, scope: string, partition: number) => string
}

const mostViolations = 20

export function createChecker(init: CheckerInit): Checker {
  const { truth, targets, syncInterval } = init
  const violations: string[] = []
  const frames = new Map<Stored, Framed>()
  const lastOfLane = new Map<string, Framed | undefined>()
  const lastOfSource = new Map<string, Framed | undefined>()
  /** By subject of frames, in stored order. */
  const rows = new Map<string, Framed[]>()
  const chunks: Uint8Array[] = []
  const owners = new Map<string, Owned | undefined>()
  const owned = new Map<Stored, Owned>()
  /** By change: the frame that was stored last with it. */
  const storedIn = new Map<Change, Framed>()
  const targetOf = new Map(targets.map((one) => [init.processor(one.processor, one.scope, one.partition), one]))
  const scopeOf = new Map<string, string>()
  for (const [scope, partitions] of init.scopes)
    for (let partition = 0; partition < partitions; partition++) scopeOf.set(init.frames(scope, partition), scope)
  const sourceOf = new Map([...truth.changes.keys()].map((source) => [init.reader(source), source]))
  /** By processor's checkpoint: how many of the partition's frames were found to be done. */
  const doneTo = new Map<string, number>()
  /** By processor's checkpoint and owner: the lanes that this owner stored last, with its seal or after it. */
  const covered = new Map<string, LaneVector>()
  /** Owners that have sealed; those of them that had when a tail was lost. */
  const ownersEver = new Set<string>()
  const survivors = new Set<string>()
  /** Checkpoints that may speak of frames which the log has lost since: a seal hands on what it found. */
  const outdated = new Set<string>()

  function violation(text: string): void {
    if (violations.length < mostViolations) violations.push(`at ${init.now().toFixed(1)} ms: ${text}`)
  }

  function storedFrame(stored: Stored, scope: string, changesOf: Framed[]): void {
    const { subject, headers, sequence } = stored.message
    const payload = wholeOf(stored)
    if (payload === null) return
    const { lane, last, previous } = readFrameHeader(payload, 0)
    const laneKey = `${subject} ${lane.source}/${lane.lane}`
    const sourceKey = `${subject} ${lane.source}`
    const beforeOfLane = lastOfLane.get(laneKey)
    const beforeOfSource = lastOfSource.get(sourceKey)
    const framed: Framed = {
      at: stored.at,
      sequence,
      source: lane.source,
      lane: lane.lane,
      ordered: lane.ordered !== false,
      last,
      mark: headers['T-M']!,
      changes: changesIn(payload, lane.source),
      beforeOfLane,
      beforeOfSource,
    }
    if (framed.ordered && textOf(previous) !== textOf(beforeOfLane?.last ?? null))
      violation(
        `${subject}@${sequence}: previous is ${textOf(previous)}, but ${textOf(beforeOfLane?.last ?? null)} stands before it`,
      )
    if ((headers['T-P'] ?? 'none') !== (beforeOfSource?.mark ?? 'none'))
      violation(
        `${subject}@${sequence}: its mark ${framed.mark} follows ${headers['T-P'] ?? 'none'}, but ${beforeOfSource?.mark ?? 'none'} stands before it`,
      )
    lastOfLane.set(laneKey, framed)
    lastOfSource.set(sourceKey, framed)
    frames.set(stored, framed)
    changesOf.push(framed)
    for (const change of framed.changes) {
      const copies = (change.copies.get(scope) ?? 0) + 1
      change.copies.set(scope, copies)
      storedIn.set(change, framed)
      if (copies > 1) violation(`${subject}@${sequence}: the log has ${nameOf(change)} ${copies} times`)
    }
  }

  /** Chunks of a frame lie one behind the other; it counts with its last. */
  function wholeOf({ message: { payload, headers } }: Stored): Uint8Array | null {
    const chunk = headers['T-C']
    if (chunk === undefined) return payload
    const [index, count] = chunk.split('/').map(Number) as [number, number]
    if (index === 0) chunks.length = 0
    chunks.push(payload)
    return index === count - 1 ? Buffer.concat(chunks) : null
  }

  function changesIn(payload: Uint8Array, source: string): Change[] {
    const view = dataView(payload)
    const count = view.getUint32(16, true)
    const found: Change[] = []
    for (let index = 0, at = headerBytes; index < count; index++) {
      const change = truth.at(source, view.getUint32(at + head.major, true), view.getUint32(at + head.minor, true))
      if (change === undefined) violation(`a frame of ${source} holds a change that never was`)
      else found.push(change)
      at += view.getUint32(at + head.length, true)
    }
    return found
  }

  function storedCheckpoint(stored: Stored, term: number, owner: string): void {
    const { subject, sequence } = stored.message
    const before = owners.get(subject)
    if (before !== undefined && term < before.term)
      violation(
        `${subject}@${sequence}: term ${term} of ${owner} was stored behind term ${before.term} of ${before.owner}`,
      )
    if (before !== undefined && term === before.term && owner !== before.owner)
      violation(`${subject}@${sequence}: ${owner} and ${before.owner} both extend term ${term}`)
    const now: Owned = { term, owner, before }
    owners.set(subject, now)
    ownersEver.add(owner)
    owned.set(stored, now)
  }

  /** What a processor's checkpoint says is done was seen by its target. */
  function checkProcessor(target: Target, stored: Stored): void {
    const { subject, sequence, payload } = stored.message
    const { term, owner, commit, lanes, marks, sequence: until } = decodeProcessor(payload, subject)
    storedCheckpoint(stored, term, owner)
    covered.set(`${subject} ${owner}`, lanes)
    if (survivors.has(owner)) outdated.add(subject)
    else if (commit > 0) outdated.delete(subject)
    const row = rows.get(init.frames(target.scope, target.partition)) ?? []
    // Who was at work when a tail was lost may still speak of its frames; sequence and marks are hints, and are looked at again.
    const aware = !outdated.has(subject)
    let index = aware ? Math.min(doneTo.get(subject) ?? 0, row.length) : 0
    if (aware) {
      for (; index < row.length && row[index]!.sequence <= until; index++) checkSeen(target, row[index]!, sequence)
      doneTo.set(subject, index)
    }
    for (; index < row.length; index++) {
      const framed = row[index]!
      const mark = parsePosition(framed.mark)
      const place = `${framed.source}/${framed.lane}`
      const lane = lanes[framed.ordered ? place : `${place}#${mark.major}`]
      const last = framed.ordered ? framed.last : mark
      const known = marks[framed.source]
      const byMark = aware && known !== undefined && comparePositions(mark, known) <= 0
      if (byMark || (lane !== undefined && comparePositions(last, lane.position) <= 0))
        checkSeen(target, framed, sequence)
    }
  }

  function checkSeen(target: Target, framed: Framed, sequence: number): void {
    const missing = framed.changes.find((change) => !target.seen.has(change))
    if (missing === undefined) return
    violation(
      `checkpoint @${sequence} of ${target.processor} ${target.scope}.${target.partition} covers ${nameOf(missing)}, which was not processed`,
    )
  }

  /** A reader's state covers what is before it in the log. */
  function checkReader(source: string, stored: Stored): void {
    const { subject, sequence, payload } = stored.message
    const { term, owner, state } = decodeReader(payload, subject)
    storedCheckpoint(stored, term, owner)
    if (typeof state?.lsn !== 'number') return
    const changes = truth.changes.get(source)!
    for (let index = changes.length - 1; index >= 0; index--) {
      const change = changes[index]!
      if (change.major > state.lsn) continue
      if (change.forgotten) break
      if (!isStored(change))
        violation(`checkpoint @${sequence} of ${source} covers ${nameOf(change)}, which is not in the log`)
    }
  }

  function isStored(change: Change): boolean {
    for (const scope of init.scopes.keys()) if ((change.copies.get(scope) ?? 0) === 0) return false
    return true
  }

  const checker: Checker = {
    violations,
    violation,
    lostMessages: 0,
    stored(messages) {
      init.note(`stored ${messages.map(describe).join(', ')}`)
      for (const stored of messages) {
        const { subject } = stored.message
        const scope = scopeOf.get(subject)
        const target = targetOf.get(subject)
        const source = sourceOf.get(subject)
        if (scope !== undefined) {
          let row = rows.get(subject)
          if (row === undefined) {
            row = []
            rows.set(subject, row)
          }
          storedFrame(stored, scope, row)
        } else if (target !== undefined) checkProcessor(target, stored)
        else if (source !== undefined) checkReader(source, stored)
      }
    },
    lost(messages) {
      init.note(`lost ${messages.map(({ message }) => message.sequence).join(', ')}`)
      checker.lostMessages += messages.length
      for (const owner of ownersEver) survivors.add(owner)
      for (const subject of targetOf.keys()) outdated.add(subject)
      for (const stored of messages) {
        const { subject } = stored.message
        const now = owned.get(stored)
        if (now !== undefined) owners.set(subject, now.before)
        doneTo.delete(subject)
        const framed = frames.get(stored)
        if (framed === undefined) continue
        frames.delete(stored)
        rows.get(subject)!.pop()
        lastOfLane.set(`${subject} ${framed.source}/${framed.lane}`, framed.beforeOfLane)
        lastOfSource.set(`${subject} ${framed.source}`, framed.beforeOfSource)
        for (const change of framed.changes) {
          const scope = scopeOf.get(subject)!
          change.copies.set(scope, change.copies.get(scope)! - 1)
          change.lost = true
          if (change.forgotten) violation(`the log lost ${nameOf(change)}, which its source was told to forget`)
        }
      }
      // Sequences are used again.
      doneTo.clear()
    },
    purged(messages) {
      init.note(`purged ${messages[0]!.message.subject} to ${messages.at(-1)!.message.sequence}`)
      for (const stored of messages) {
        const framed = frames.get(stored)
        if (framed === undefined) continue
        const { subject, sequence } = stored.message
        const [, , , scope, partition] = subject.split('.')
        for (const target of targets) {
          if (target.scope !== scope || target.partition !== Number(partition)) continue
          const missing = framed.changes.find((change) => !target.seen.has(change))
          if (missing !== undefined)
            violation(`${subject}@${sequence} was removed before ${target.processor} had processed ${nameOf(missing)}`)
        }
      }
    },
    repeated(processor, scope, partition, owner, change) {
      const framed = storedIn.get(change)
      // Without an order what was lost comes again under another mark.
      if (framed?.ordered !== true) return
      const subject = init.processor(processor, scope, partition)
      const known = covered.get(`${subject} ${owner}`)?.[`${framed.source}/${framed.lane}`]
      const position: Position = { major: BigInt(change.major), minor: BigInt(change.minor), part: 0 }
      if (known !== undefined && comparePositions(position, known.position) <= 0)
        violation(`${owner} processed ${nameOf(change)} again, which its checkpoint on ${subject} covers`)
    },
    forgotten(changes) {
      init.note(`forgotten ${changes.map(nameOf).join(', ')}`)
      const synced = init.now() - syncInterval
      for (const change of changes) {
        change.forgotten = true
        if (!isStored(change)) violation(`the source was told to forget ${nameOf(change)}, which is not in the log`)
        else if (syncInterval > 0 && storedIn.get(change)!.at > synced)
          violation(`the source was told to forget ${nameOf(change)} before the log had it synced`)
      }
    },
    undelivered() {
      const missing: string[] = []
      for (const changes of truth.changes.values())
        for (const change of changes)
          for (const target of targets) {
            const partitions = init.scopes.get(target.scope)!
            if (change.key % partitions !== target.partition || target.seen.has(change)) continue
            missing.push(`${nameOf(change)} by ${target.processor} ${target.scope}.${target.partition}`)
            if (missing.length >= 3) return missing
          }
      return missing
    },
  }
  return checker
}

function describe({ message: { subject, sequence, headers } }: Stored): string {
  return `${subject.slice(9)}@${sequence}${headers['T-M'] === undefined ? '' : ` ${headers['T-M']}`}`
}

function nameOf(change: Change): string {
  return `${change.source} ${change.major}-${change.minor}`
}

function textOf(position: Position | null): string {
  return position === null ? 'none' : formatPosition(position)
}

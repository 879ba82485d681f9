import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { check, committedCounters, type SinkEntry } from '../../chaos/checker/check.js'
import { compareRows } from '../../chaos/checker/rows.js'
import { runCheck } from '../../chaos/checker/run.js'
import { openIntents, readLedger } from '../../chaos/ledger/format.js'
import { openLedger } from '../../chaos/ledger/ledger.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'troupe-ledger-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const committed = (upTo: number) => new Map([['a', new Set(Array.from({ length: upTo }, (_, index) => index + 1))]])
const entries = (...counters: number[]): SinkEntry[] => counters.map((counter) => ({ key: 'a', counter }))
const judge = (upTo: number, ...counters: number[]) => check(committed(upTo), entries(...counters))

describe('the checker', () => {
  it('finds nothing in a faithful sink', async () => {
    expect(await judge(4, 1, 2, 3, 4)).toMatchObject({ events: 4, lost: 0, duplicated: 0, reordered: 0, phantom: 0 })
  })

  it('finds a removed record', async () => {
    expect(await judge(4, 1, 2, 4)).toMatchObject({ lost: 1, duplicated: 0, reordered: 0 })
    expect(await judge(4, 1, 2, 3)).toMatchObject({ lost: 1, reordered: 0 })
    expect(await judge(4)).toMatchObject({ lost: 4 })
  })

  it('finds a repeated record', async () => {
    expect(await judge(3, 1, 2, 2, 3)).toMatchObject({ lost: 0, duplicated: 1, reordered: 0 })
  })

  it('finds a swapped record, once', async () => {
    expect(await judge(4, 1, 3, 2, 4)).toMatchObject({ lost: 0, duplicated: 0, reordered: 1 })
    expect(await judge(2, 2, 1)).toMatchObject({ reordered: 1 })
  })

  it('finds a record that nobody committed', async () => {
    expect(await judge(2, 1, 2, 3)).toMatchObject({ lost: 0, phantom: 1 })
  })

  it('takes contiguous replays for duplicates, not for a reorder', async () => {
    expect(await judge(5, 1, 2, 3, 2, 3, 4, 5)).toMatchObject({ lost: 0, duplicated: 2, reordered: 0, replays: 1 })
    expect(await judge(5, 1, 2, 3, 4, 2, 3, 1, 2, 3, 4, 5)).toMatchObject({ duplicated: 6, reordered: 0, replays: 2 })
  })

  it('finds a replay with a hole in it', async () => {
    expect(await judge(5, 1, 2, 3, 4, 2, 4, 5)).toMatchObject({ lost: 0, reordered: 1 })
    expect(await judge(5, 1, 2, 3, 4, 2, 3, 5)).toMatchObject({ lost: 0, reordered: 1 })
  })

  it('does not count a loss as a reorder too', async () => {
    expect(await judge(5, 1, 3, 4, 3, 4, 5)).toMatchObject({ lost: 1, reordered: 0, duplicated: 2 })
  })

  it('takes a late record of a consumer group for present, wherever it stands, and any other for a reorder', async () => {
    const late = [...entries(1, 3), ...entries(2).map((entry) => ({ ...entry, late: true })), ...entries(4)]
    const inGroup = await check(committed(4), late, (key) => key === 'a')
    expect(inGroup).toMatchObject({ lost: 0, duplicated: 0, reordered: 0, late: 1 })
    expect(await check(committed(4), late)).toMatchObject({ lost: 0, duplicated: 0, reordered: 1, late: 1 })
    const repeated = await check(committed(4), [...late, ...late.slice(2, 3)], () => true)
    expect(repeated).toMatchObject({ duplicated: 1, reordered: 0, late: 2 })
  })
})

describe('the ledger', () => {
  it('keeps what a kill left open, and refuses to judge before it is settled', () => {
    const path = join(folder, 'ledger.jsonl')
    const ledger = openLedger(path)
    ledger.lane({ writer: 'w', lane: 'w/0', source: 'postgres' })
    ledger.settle(ledger.intend('w/0', [['a', 1, 'insert']]), true)
    ledger.settle(ledger.intend('w/0', [['a', 2, 'update']]), false)
    ledger.intend('w/0', [['a', 2, 'delete']])
    ledger.close()
    const read = readLedger(path)
    expect(openIntents(read).map((intent) => intent.intent)).toEqual([3])
    expect(() => committedCounters([read])).toThrow(/open/)
  })

  it('ignores a line that a kill cut short and no other', () => {
    const path = join(folder, 'torn.jsonl')
    writeFileSync(path, '{"writer":"w","lane":"w/0","source":"redis"}\n{"intent":1,"lane":"w/0","chan')
    expect(readLedger(path).intents).toEqual([])
    writeFileSync(path, '{"writer":"w","lane":"w/0"\n{"intent":1,"lane":"w/0","changes":[]}\n')
    expect(() => readLedger(path)).toThrow(/torn\.jsonl:1/)
  })

  it('is judged against a file of JSON lines, deletes counted as the next change', async () => {
    const path = join(folder, 'ledger.jsonl')
    const ledger = openLedger(path)
    ledger.lane({ writer: 'w', lane: 'w/0', source: 'postgres' })
    ledger.settle(
      ledger.intend('w/0', [
        ['a', 1, 'insert'],
        ['a', 2, 'delete'],
      ]),
      true,
    )
    ledger.close()
    const sink = join(folder, 'sink.jsonl')
    const insert = { operation: 'insert', before: null, after: { key: 'a', counter: 1 } }
    const gone = { operation: 'delete', before: { key: 'a', counter: 1 }, after: null }
    writeFileSync(sink, `${JSON.stringify(insert)}\n${JSON.stringify(gone)}\n`)
    const report = await runCheck({ ledgers: [path], sink: { kind: 'jsonl', paths: [sink] } })
    expect(report).toMatchObject({ events: 2, records: 2, lost: 0, duplicated: 0, reordered: 0, ok: true })
  })

  it('is not met by a sink that lacks a record, has it in another place, or marks it late where none can be', async () => {
    const path = join(folder, 'ledger.jsonl')
    const ledger = openLedger(path)
    ledger.lane({ writer: 'w', lane: 'w/0', source: 'postgres' })
    for (const counter of [1, 2, 3])
      ledger.settle(
        ledger.intend('w/0', [
          ['row', counter, counter === 1 ? 'insert' : 'update'],
          ['click', counter, 'append'],
        ]),
        true,
      )
    ledger.close()
    const sink = join(folder, 'sink.jsonl')
    const judged = (records: readonly object[], group = false) => {
      writeFileSync(sink, records.map((record) => `${JSON.stringify(record)}\n`).join(''))
      return runCheck({ ledgers: [path], sink: { kind: 'jsonl', paths: [sink] }, group })
    }
    const of = (key: string, ...counters: number[]) => counters.map((counter) => ({ key, counter }))
    const rows = of('row', 1, 2, 3)
    const clicks = of('click', 1, 2, 3)
    const late = (key: string) => [...of(key, 1, 3), { key, counter: 2, late: true }]
    expect(await judged([...rows, ...clicks])).toMatchObject({ late: 0, ok: true })
    expect(await judged([...rows, ...of('click', 1, 2)])).toMatchObject({ lost: 1, ok: false })
    expect(await judged([...rows, ...of('click', 1, 3, 2)])).toMatchObject({ reordered: 1, ok: false })
    expect(await judged([...rows, ...clicks, ...of('nobody', 1)])).toMatchObject({ phantom: 1, ok: false })
    expect(await judged([...rows, ...late('click')], true)).toMatchObject({ late: 1, ok: true })
    expect(await judged([...rows, ...late('click')])).toMatchObject({ late: 1, reordered: 1, ok: false })
    expect(await judged([...late('row'), ...clicks], true)).toMatchObject({ late: 1, reordered: 1, ok: false })
  })
})

describe('the comparison of rows', () => {
  const source = new Map([
    ['a', { key: 'a', name: 'one' }],
    ['b', { key: 'b', name: null }],
  ])

  it('finds a row that differs, is missing or should not be there', () => {
    expect(compareRows(source, source).equal).toBe(true)
    const sink = new Map([
      ['a', { key: 'a', name: 'two' }],
      ['c', { key: 'c', name: 'three' }],
    ])
    expect(compareRows(source, sink)).toMatchObject({ different: 1, missing: 1, surplus: 1, equal: false })
  })
})

/** A reader of the simulated cluster: the real writer and the real router, and a model of a source's driver. */

import type { StreamNames } from '../../../src/log/jetstream/names.js'
import type { StreamPort } from '../../../src/log/jetstream/port.js'
import { createLogWriter, type LogWriter } from '../../../src/log/jetstream/writer.js'
import type { Opened, PartitionSet, ReaderMessage } from '../../../src/log/log.js'
import { createRouter, type Router } from '../../../src/partition/router.js'
import type { Discharge, SourceContext, SourceReader } from '../../../src/source/source.js'
import { TroupeError } from '../../../src/world/error.js'
import type { Life } from './node.js'
import { silent } from './silent.js'
import { type Unit, watched } from './unit.js'

export interface ReaderUnitInit {
  readonly resource: string
  readonly source: string
  readonly life: Life
  readonly owner: string
  readonly stream: StreamPort
  readonly names: StreamNames
  readonly sets: readonly PartitionSet[]
  readonly holdback: number
  readonly maxMessage: number
  readonly planted: readonly string[]
  readonly obliges: boolean
  readonly open: (context: SourceContext & { readonly discharge: Discharge }) => Promise<SourceReader>
  /** Tells every owner that it can reach. */
  readonly hurry: () => void
  /** Null: it was closed. Called once, unless its node dies. */
  readonly ended: (error: Error | null) => void
}

export function startReader(init: ReaderUnitInit): Unit {
  const { life, source } = init
  const { port, busy } = watched(init.stream)
  let over = false
  let failure: TroupeError | null = null
  let closing = false
  let opened: Opened | null = null
  let router: Router | null = null
  let reader: SourceReader | null = null
  let early: ReaderMessage[] = []

  function end(error: Error | null): void {
    if (over) return
    over = true
    failure = error instanceof TroupeError ? error : null
    router?.quiesce()
    void reader?.stop()
    void writer.close(0)
    init.ended(error)
  }

  function tell(message: ReaderMessage): void {
    // Turns lie between the writer and the reader, as between actors.
    life.world.defer(() => {
      if (reader === null) early.push(message)
      else receive(message)
    })
  }

  function receive(message: ReaderMessage): void {
    router?.receive(message)
    if (message.type === 'confirmed' && message.term === opened?.term && !over)
      reader?.confirm(message.state, message.receipts)
  }

  const writer: LogWriter = createLogWriter({
    world: life.world,
    log: silent,
    stream: port,
    names: init.names,
    source,
    sets: init.sets,
    owner: init.owner,
    holdback: init.holdback,
    maxMessage: init.maxMessage,
    obliges: init.obliges,
    tell,
    hurry: init.hurry,
    failed: end,
    planted: init.planted,
  })

  async function open(): Promise<void> {
    opened = await writer.open()
    if (over) return
    const { checkpoint } = opened
    const made = createRouter({
      world: life.world,
      source,
      sets: init.sets.map(({ name, partitions }) => ({
        name,
        partitions,
        filters: [{ namespaces: [], entities: [], operations: [] }],
      })),
      credits: { partition: 3_000, source: 6_000 },
      opened,
      send: (append) => writer.append(append),
      patient: true,
      hurry: () => writer.hurry(),
    })
    router = made
    const running = await init.open({
      world: life.world,
      log: silent,
      pipeline: 'p',
      name: source,
      term: opened.term,
      resume: {
        state: opened.tail ?? checkpoint.state,
        confirmed: checkpoint.state,
        appended: opened.appended,
        obligations: checkpoint.obligations.map(({ bytes }) => bytes),
        outstanding: opened.outstanding,
      },
      out: made,
      stillOwns: writer.stillOwns,
      fail: end,
      discharge: (receipts) => writer.discharge(receipts),
    })
    if (over) {
      void running.stop()
      return
    }
    reader = running
    made.attach(running)
    for (const message of early.splice(0)) receive(message)
    early = []
  }

  open().catch(end)

  return {
    resource: init.resource,
    life,
    owner: init.owner,
    get over() {
      return over || life.dead
    },
    get failure() {
      return failure
    },
    state: () => (closing ? 'handing-over' : opened === null ? 'sealing' : busy() ? 'storing' : 'idle'),
    async close(deadlineMs) {
      if (over || closing) return false
      closing = true
      await reader?.stop()
      router?.quiesce()
      await writer.close(deadlineMs)
      end(null)
      return false
    },
    kill: () => end(new Error('killed')),
    hurry() {},
    disturb: () => false,
    slow: () => false,
  }
}

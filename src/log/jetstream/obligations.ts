/**
 * What the source must still be told (ids to acknowledge), as it lies in the log: found again at a takeover, and removed when
 * it was told and a holdback has passed.
 *
 * Bounded: beyond `mostOwed` a reader stores nothing more until confirmations have come. Its driver keeps every one of these
 * ids meanwhile.
 */
import type { Obligation } from '../../checkpoint/checkpoint.js'
import { TroupeError } from '../../world/error.js'
import type { Logger } from '../../world/logger.js'
import type { Timer, World } from '../../world/world.js'
import { chunksOf } from './parcel.js'
import { answerWithin, type StreamMessage, type StreamPort } from './port.js'

export interface ObligationsInit {
  readonly world: World
  readonly log: Logger
  readonly stream: StreamPort
  readonly subject: string
  readonly source: string
  readonly place: string
  readonly holdback: number
  /** Most bytes of payload in one message. */
  readonly maxMessage: number
  /** Whether the last commit of this reader still stands; false where nobody answered. Rejects where it is over. */
  readonly stillStands: () => Promise<boolean>
  readonly failed: (error: unknown) => void
}

export interface Obligations {
  /** Goes into the seal: they are read up to here, and nobody can write any behind it. */
  readonly end: StreamMessage
  /** All of them, up to the end that the seal has written at this sequence. */
  read(end: number): Promise<readonly Obligation[]>
  /** Stored now; the last of its messages has this sequence. */
  keep(obligation: Obligation, sequence: number): void
  /** One after the other in one batch: what a message does not hold is cut. */
  messages(obligation: Obligation): StreamMessage[]
  discharge(receipts: readonly number[]): void
  /** Resolves when there is room for more, or this was stopped. */
  room(): Promise<void>
  stop(): void
  figures(): { readonly undischarged: number; readonly owedBytes: number; readonly waitsForHoldback: boolean }
}

/** Bytes undischarged beyond which nothing more is stored: some eight million ids of a stream. */
export const mostOwed = 16 * 1024 * 1024
const readDeadline = 60_000
/** ms after which an end that does not come is looked for. */
const lookEvery = 2_000
/** ms between two purges. */
const purgeEvery = 1_000

interface Owed {
  /** 0: the end of a seal. */
  readonly receipt: number
  readonly bytes: number
  readonly sequence: number
  readonly storedAt: number
  done: boolean
}

export function createObligations(init: ObligationsInit): Obligations {
  const { world, log, stream, subject, source, place } = init
  /** Oldest first. */
  const owed: Owed[] = []
  let owedBytes = 0
  let purging: Timer | null = null
  let over = false
  const waiting: (() => void)[] = []
  let giveUp: ((error: Error) => void) | null = null

  function add(receipt: number, bytes: number, sequence: number): void {
    owed.push({ receipt, bytes, sequence, storedAt: world.monotonic(), done: receipt === 0 })
    owedBytes += bytes
  }

  async function read(end: number): Promise<readonly Obligation[]> {
    const found: (Obligation & { readonly sequence: number })[] = []
    await new Promise<void>((resolve, reject) => {
      const late = world.setTimer(readDeadline, () => done(silentError()))
      let looking = world.setTimer(lookEvery, look)
      let ended = false
      const lookLater = () => {
        if (!ended) looking = world.setTimer(lookEvery, look)
      }
      /** The end may have been lost with a tail, or removed by a successor: then it never comes. */
      function look(): void {
        stream.at(end, answerWithin).then((message) => {
          if (ended || message?.subject === subject) return lookLater()
          init.stillStands().then((answered) => (answered ? done(lostError(end)) : lookLater()), done)
        }, lookLater)
      }
      const done = (error?: Error) => {
        ended = true
        giveUp = null
        late.cancel()
        looking.cancel()
        reading.stop()
        if (error === undefined) resolve()
        else reject(error)
      }
      const reading = stream.read({
        subject,
        from: 1,
        window: mostOwed,
        message({ headers, payload, sequence }) {
          const receipt = Number(headers['T-R'])
          const last = found.at(-1)
          if (receipt > 0 && last?.receipt === receipt)
            found[found.length - 1] = { receipt, bytes: Buffer.concat([last.bytes, payload]), sequence }
          else if (receipt > 0) found.push({ receipt, bytes: Uint8Array.from(payload), sequence })
          reading.credit(payload.length)
          if (sequence >= end) done()
        },
        resumed: () => {},
        failed: done,
      })
      giveUp = done
    })
    for (const { receipt, bytes, sequence } of found) add(receipt, bytes.length, sequence)
    add(0, 0, end)
    discharge([])
    return found.map(({ receipt, bytes }) => ({ receipt, bytes }))
  }

  function discharge(receipts: readonly number[]): void {
    const gone = new Set(receipts)
    for (const one of owed)
      if (!one.done && gone.has(one.receipt)) {
        one.done = true
        owedBytes -= one.bytes
      }
    if (owedBytes < mostOwed) goOn()
    schedulePurge()
  }

  function goOn(): void {
    if (waiting.length > 0 && !over) log.info({ source, owedBytes }, 'confirmations have come: the reader goes on')
    for (const resolve of waiting.splice(0)) resolve()
  }

  function schedulePurge(): void {
    if (purging !== null || over) return
    purging = world.setTimer(purgeEvery, () => {
      purging = null
      purge().catch(init.failed)
    })
  }

  /**
   * Only what is a holdback old and stands: a purge may be carried out late, and where a tail was lost meanwhile it would
   * remove what was stored anew at the same sequences.
   */
  async function purge(): Promise<void> {
    const until = world.monotonic() - init.holdback
    let keep = 0
    let count = 0
    while (count < owed.length && owed[count]!.done && owed[count]!.storedAt <= until)
      keep = owed[count++]!.sequence + 1
    if (owed[count]?.done === true) schedulePurge()
    if (count === 0 || over) return
    if (init.holdback > 0 && !(await init.stillStands())) return schedulePurge()
    if (over) return
    try {
      await stream.purge(subject, keep, answerWithin)
      owed.splice(0, count)
    } catch (error) {
      log.debug(
        { source, error: String(error) },
        'fulfilled obligations could not be removed; tried again with the next',
      )
    }
  }

  function lostError(sequence: number): TroupeError {
    return new TroupeError({
      code: 'log-rewind',
      message: `the log has lost its tail: our seal at sequence ${sequence} is gone`,
      place,
      remedy: 'nothing: the reader seals again; set sync_interval: always on the NATS servers',
      permanent: true,
    })
  }

  function silentError(): TroupeError {
    return new TroupeError({
      code: 'log-silent',
      message: `what the source must still be told could not be read within ${readDeadline / 1000} s`,
      place,
      remedy: 'look at the NATS servers; the reader is started again',
    })
  }

  return {
    end: { subject, payload: Buffer.alloc(0), headers: { 'T-R': '0' } },
    read,
    keep: ({ receipt, bytes }, sequence) => add(receipt, bytes.length, sequence),
    messages: ({ receipt, bytes }) =>
      Array.from({ length: chunksOf(bytes.length, init.maxMessage) }, (_, index) => ({
        subject,
        payload: bytes.subarray(index * init.maxMessage, (index + 1) * init.maxMessage),
        headers: { 'T-R': String(receipt) },
      })),
    discharge,
    async room() {
      if (owedBytes < mostOwed || over) return
      if (waiting.length === 0)
        log.warn(
          { source, owedBytes, holdbackMs: init.holdback },
          'the source has too much to be told after the holdback: the reader waits for confirmations',
        )
      await new Promise<void>((resolve) => waiting.push(resolve))
    },
    stop() {
      over = true
      purging?.cancel()
      giveUp?.(new TroupeError({ code: 'log-closed', message: 'the log was closed meanwhile', place }))
      goOn()
    },
    figures: () => ({ undischarged: owed.length, owedBytes, waitsForHoldback: waiting.length > 0 }),
  }
}

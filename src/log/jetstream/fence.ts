/**
 * The fence: commits that only the owner of a checkpoint can make, and the seal that makes an owner.
 *
 * Every commit ends with checkpoints that expect the sequence at which their subjects stood: whoever sealed since has moved
 * it, and the stream refuses the batch as a whole. A reply that says nothing (silence, 503), or that the sequence has moved, is
 * settled by reading: is the checkpoint that stands there ours, and of this attempt? Nothing is ever sent again before
 * that read.
 *
 * A fence that runs backwards (a write of ours that was acknowledged is gone) means that the stream has lost its tail:
 * `log-rewind`. The reader or owner ends and begins again from what there is.
 */
import { messageOf, TroupeError } from '../../world/error.js'
import { sleep } from '../../world/sleep.js'
import type { World } from '../../world/world.js'
import { answerWithin, type Outcome, type StoredMessage, type StreamMessage, type StreamPort } from './port.js'
import { decodeOwnership } from './stored.js'

export interface FenceInit {
  readonly world: World
  readonly stream: StreamPort
  readonly owner: string
  /** Of whom, for errors: `source db`, `partition key.3`. */
  readonly place: string
  readonly planted?: readonly string[]
}

/** Where a checkpoint's subject stands, as this owner knows it. */
export interface Stand {
  sequence: number
  /** Number of our last write there. */
  commit: number
}

export interface FenceFigures {
  commits: number
  refused: number
  ambiguous: number
  retries: number
  /** The stream is full: since when, on the monotonic clock. */
  fullSince: number | null
}

/** One checkpoint of a commit. Its message is the last of its subject in the batch. */
export interface Checkpointed {
  readonly subject: string
  readonly payload: Uint8Array
}

export interface Fence {
  readonly term: number
  readonly figures: FenceFigures
  /**
   * Takes over: reads the checkpoints, and writes what `next` makes of them, with the next term. When it resolves, no
   * older owner can commit. Gives the sequence of the last checkpoint.
   */
  seal(
    subjects: readonly string[],
    next: (
      found: readonly (StoredMessage | null)[],
      term: number,
    ) => readonly Checkpointed[] | Promise<readonly Checkpointed[]>,
    messages?: readonly StreamMessage[],
  ): Promise<number>
  /**
   * Reads whether our checkpoint still stands: what was acknowledged a holdback ago and stands now is synced, and no
   * later loss of a tail can take it. False where nobody answered.
   * @throws TroupeError `fenced`, `log-rewind`, `log-closed`
   */
  stillStands(subject: string): Promise<boolean>
  /**
   * Resolves when reads have shown that all of these checkpoints still stand.
   * @throws TroupeError as `stillStands`
   */
  stillOwns(subjects: readonly string[]): Promise<void>
  /**
   * Stores messages and checkpoints in one atomic step; gives the sequence of the last message.
   * @throws TroupeError `fenced`, `log-rewind`, `log-misconfigured`, `log-closed`
   */
  commit(number: number, messages: readonly StreamMessage[], checkpoints: readonly Checkpointed[]): Promise<number>
  /** Gives up waiting: what is under way may still be stored. */
  close(): void
}

/** Bytes of a batch that have a second more for their reply. */
const bytesASecond = 4 * 1024 * 1024
const firstPause = 20
const longestPause = 1_000
/** ms between two looks whether an ownership still stands, while nobody answers. */
const lookEvery = 250
/** A stale read can look like a rewound log: it must be seen this often, for some three seconds. */
const rewindReads = 8

export function createFence(init: FenceInit): Fence {
  const { world, stream, owner, place, planted = [] } = init
  const stands = new Map<string, Stand>()
  const figures: FenceFigures = { commits: 0, refused: 0, ambiguous: 0, retries: 0, fullSince: null }
  let term = 0
  let closed = false

  function open(): void {
    if (closed) throw closedMeanwhile(place)
  }

  function pause(attempt: number): Promise<void> {
    const ms = Math.min(longestPause, firstPause * 2 ** attempt) * (0.5 + world.random() / 2)
    return sleep(world, ms)
  }

  /** Reads until it is answered. */
  async function read(subject: string): Promise<StoredMessage | null> {
    for (let attempt = 0; ; attempt++) {
      open()
      try {
        return await stream.last(subject, answerWithin)
      } catch (error) {
        if (error instanceof TroupeError && error.permanent) throw error
        figures.retries++
        await pause(attempt)
      }
    }
  }

  function misconfigured(outcome: Extract<Outcome, { kind: 'misconfigured' }>): TroupeError {
    return new TroupeError({
      code: 'log-misconfigured',
      message: `the stream takes no commit: ${outcome.why} (${outcome.code})`,
      place,
      remedy: 'compare the stream with docs/nats.md, and the user’s permissions with the list there',
      permanent: true,
    })
  }

  /** `refused`: the log itself said no (10071) to a commit of ours; else a read has shown it before we tried. */
  function fenced(found: { readonly term: number; readonly owner: string }, refused: boolean): TroupeError {
    if (found.owner.startsWith(seekOwner))
      return new TroupeError({
        code: 'sought',
        message: `the checkpoint was moved by \`troupe seek\` (term ${found.term}; ours is ${term})`,
        place,
        remedy: 'nothing: the owner begins anew from there',
      })
    return new TroupeError({
      code: 'fenced',
      message: `${refused ? 'the log has refused our commit (10071): ' : ''}another owner has sealed term ${found.term}; ours is ${term}, and nothing of ours was stored since`,
      place,
      remedy: 'nothing: the work goes on there',
      permanent: true,
    })
  }

  function rewound(subject: string, stand: Stand, found: StoredMessage | null): TroupeError {
    return new TroupeError({
      code: 'log-rewind',
      message: `the log has lost its tail: our checkpoint ${subject} stood at sequence ${stand.sequence} and ${found === null ? 'is gone' : `stands at ${found.sequence} now`}`,
      place,
      remedy: 'nothing: what was lost is read again from the source; set sync_interval: always on the NATS servers',
      permanent: true,
    })
  }

  function messagesOf(
    messages: readonly StreamMessage[],
    checkpoints: readonly Checkpointed[],
    blind: boolean,
  ): StreamMessage[] {
    const wrong = planted.includes('fence-on-the-wrong-message')
    const batch: StreamMessage[] = messages.map((message, index) =>
      wrong && index === 0 ? { ...message, expect: 0 } : message,
    )
    for (const { subject, payload } of checkpoints) {
      const expect = stands.get(subject)!.sequence
      batch.push({ subject, payload, rollup: true, ...(wrong || blind ? {} : { expect }) })
    }
    return batch
  }

  /** What stands at every checkpoint of this attempt: owners with other processors may have sealed only some of them. */
  async function settle(
    number: number,
    checkpoints: readonly Checkpointed[],
    refused: boolean,
  ): Promise<'stored' | 'not-stored'> {
    let outcome: 'stored' | 'not-stored' = 'not-stored'
    for (const checkpoint of checkpoints) outcome = await settleOne(number, checkpoint, refused)
    return outcome
  }

  async function settleOne(
    number: number,
    { subject }: Checkpointed,
    refused: boolean,
  ): Promise<'stored' | 'not-stored'> {
    for (let reads = 1; ; reads++) {
      const stand = stands.get(subject)!
      const found = await read(subject)
      const known = found === null ? null : decodeOwnership(found.payload, subject)
      if (known?.owner === owner && known.commit === number) {
        stand.sequence = found!.sequence
        return 'stored'
      }
      if (known?.owner === owner && found!.sequence === stand.sequence) return 'not-stored'
      if (known !== null && known.owner !== owner && found!.sequence >= stand.sequence) throw fenced(known, refused)
      if (reads >= rewindReads) throw rewound(subject, stand, found)
      await pause(reads)
    }
  }

  async function stillStands(subject: string): Promise<boolean> {
    for (let reads = 1; ; reads++) {
      const stand = { ...stands.get(subject)! }
      const found = await stream.last(subject, answerWithin).catch(() => undefined)
      // Who was closed meanwhile has been told why; what stands there is no answer of his any more.
      open()
      if (found === undefined) return false
      const known = found === null ? null : decodeOwnership(found.payload, subject)
      if (known?.owner === owner && known.commit >= stand.commit && found!.sequence >= stand.sequence) return true
      if (known !== null && known.owner !== owner && found!.sequence >= stand.sequence) throw fenced(known, false)
      if (reads >= rewindReads) throw rewound(subject, stand, found)
      await pause(reads)
    }
  }

  return {
    get term() {
      return term
    },
    figures,

    async seal(subjects, next, messages = []) {
      for (let attempt = 0; ; attempt++) {
        const found = await Promise.all(subjects.map(read))
        const terms = found.map((message) =>
          message === null ? 0 : decodeOwnership(message.payload, message.subject).term,
        )
        term = Math.max(0, ...terms) + 1
        for (const [index, subject] of subjects.entries())
          stands.set(subject, { sequence: found[index]?.sequence ?? 0, commit: 0 })
        const checkpoints = await next(found, term)
        open()
        const outcome = await stream.commit(messagesOf(messages, checkpoints, false), answerWithin)
        if (outcome.kind === 'misconfigured') throw misconfigured(outcome)
        if (outcome.kind === 'committed') {
          moved(0, checkpoints, outcome.sequence)
          return outcome.sequence
        }
        count(outcome)
        await pause(attempt)
        if (outcome.kind === 'ambiguous') {
          // Perhaps it is there; perhaps it comes later, and then only if nobody has written meanwhile.
          const now = await Promise.all(subjects.map(read))
          if (now.every((message) => message !== null && isSeal(message))) {
            for (const message of now) stands.set(message!.subject, { sequence: message!.sequence, commit: 0 })
            return now.at(-1)!.sequence
          }
        }
      }
    },

    async commit(number, messages, checkpoints) {
      const bytes = messages.reduce((sum, { payload }) => sum + payload.length, 0)
      const deadline = answerWithin + 1_000 * Math.floor(bytes / bytesASecond)
      for (let attempt = 0, blind = false; ; attempt++) {
        open()
        const outcome = await stream.commit(messagesOf(messages, checkpoints, blind), deadline)
        if (outcome.kind === 'committed') {
          moved(number, checkpoints, outcome.sequence)
          return outcome.sequence
        }
        if (outcome.kind === 'misconfigured') throw misconfigured(outcome)
        count(outcome)
        if (outcome.kind === 'ambiguous' && planted.includes('blind-resend')) {
          blind = true
          continue
        }
        if (outcome.kind === 'retry') await pause(attempt)
        if ((await settle(number, checkpoints, outcome.kind === 'fenced')) === 'stored') {
          const { sequence } = stands.get(checkpoints.at(-1)!.subject)!
          moved(number, checkpoints, sequence)
          return sequence
        }
        if (outcome.kind !== 'retry') await pause(attempt)
      }
    },

    stillStands,

    async stillOwns(subjects) {
      while (!(await Promise.all(subjects.map(stillStands))).every((answered) => answered))
        await sleep(world, lookEvery)
    },

    close() {
      closed = true
    },
  }

  /** An older attempt of ours that landed late is not the seal that we hold. */
  function isSeal({ payload, subject }: StoredMessage): boolean {
    const known = decodeOwnership(payload, subject)
    return known.owner === owner && known.term === term
  }

  function count(outcome: Outcome): void {
    if (outcome.kind === 'fenced') figures.refused++
    else if (outcome.kind === 'ambiguous') figures.ambiguous++
    else figures.retries++
    if (outcome.kind === 'retry' && outcome.full === true) figures.fullSince ??= world.monotonic()
  }

  /** The messages of a batch lie one behind the other, checkpoints last. */
  function moved(number: number, checkpoints: readonly Checkpointed[], sequence: number): void {
    figures.commits++
    figures.fullSince = null
    for (const [index, { subject }] of checkpoints.entries())
      stands.set(subject, { sequence: sequence - (checkpoints.length - 1 - index), commit: number })
  }
}

/** Begins the name under which `troupe seek` writes a checkpoint; no owner's has a colon. */
export const seekOwner = 'seek:'

/** The owner begins anew: unlike one that is fenced, it has lost nothing to another. */
export function isSought(error: unknown): boolean {
  return error instanceof TroupeError && error.code === 'sought'
}

export function closedMeanwhile(place: string): TroupeError {
  return new TroupeError({ code: 'log-closed', message: 'the log was closed meanwhile', place })
}

/** An error of the log as one that ends an ownership. */
export function toLogError(error: unknown, place: string): TroupeError {
  if (error instanceof TroupeError) return error
  return new TroupeError({ code: 'log-failed', message: `the log failed: ${messageOf(error)}`, place, cause: error })
}

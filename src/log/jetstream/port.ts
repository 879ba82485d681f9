/**
 * What the cluster's log needs of JetStream: one stream, seen through the few calls that the protocol is made of.
 *
 * The protocol (fence, seal, append, checkpoint, trim) is written against this port alone, with time and chance from a
 * `World`: nats-stream.ts is the driver on a real server, and the simulation has a model that is slow, ambiguous, stale
 * and forgetful.
 */

/** ms for an answer of the servers, behind an election of the stream's leader. */
export const answerWithin = 5_000

/** A message as it is published. */
export interface StreamMessage {
  readonly subject: string
  readonly payload: Uint8Array
  /** Short ASCII names and values. */
  readonly headers?: Readonly<Record<string, string>>
  /** `Nats-Expected-Last-Subject-Sequence`: refused unless this is the last sequence of the subject; 0: there is none. */
  readonly expect?: number
  /** A checkpoint: replaces every earlier message of its subject (`Nats-Rollup: sub`). */
  readonly rollup?: boolean
}

/** A message as it is stored. */
export interface StoredMessage {
  readonly subject: string
  readonly sequence: number
  readonly payload: Uint8Array
  readonly headers: Readonly<Record<string, string>>
  /** When the server stored it, ms since the Unix epoch, by the server's clock. */
  readonly storedAt: number
}

/**
 * What became of a commit. Decided by `outcomeOf` (outcome.ts) from the reply or its absence.
 *
 * `committed`: stored; `sequence` is that of the last message, those before it lie directly below. `fenced`: the expected
 * sequence is not the last one; nothing was stored. Whether somebody else wrote it, or we ourselves by an attempt whose
 * reply was lost, only a read can tell. `retry`: nothing was stored, and the same commit may be tried again after a
 * read. `ambiguous`: it may or may not be stored, now or a little later: read before anything is written again.
 * `misconfigured`: no attempt can succeed until somebody changes the stream, the server or the rights.
 */
export type Outcome =
  | { readonly kind: 'committed'; readonly sequence: number }
  | { readonly kind: 'fenced' }
  | { readonly kind: 'retry'; readonly why: string; readonly full?: boolean }
  | { readonly kind: 'ambiguous'; readonly why: string }
  | { readonly kind: 'misconfigured'; readonly code: number; readonly why: string }

export interface StreamState {
  readonly bytes: number
  /** The stream's bound; Infinity where it has none. */
  readonly maxBytes: number
  readonly messages: number
}

/** An ordered reading of one subject. Delivers each stored message once, in order, while the reading lives. */
export interface StreamReading {
  /** The reader has finished with this many bytes of payload: as much may be asked for again. */
  credit(bytes: number): void
  stop(): void
}

export interface ReadOptions {
  /** One subject, or a wildcard. */
  readonly subject: string
  /** The first sequence that is wanted; what is delivered may begin later (trimmed), and must be checked. */
  readonly from: number
  /** Bytes that may be delivered and not yet credited. At least one message is always asked for. */
  readonly window: number
  readonly message: (message: StoredMessage) => void
  /**
   * The reading has begun anew behind the last message that was delivered, for a reason that the protocol must look at (the
   * consumer was lost with its server). `last`: the last sequence of the stream now: below what was delivered, the
   * stream has lost its tail. A first start behind the end is told too.
   */
  readonly resumed: (state: { readonly last: number; readonly delivered: number }) => void
  readonly failed: (error: Error) => void
}

export interface StreamPort {
  /** One atomic batch; a single message is published as it is. At most one under way for each fenced subject. Never rejects. */
  commit(messages: readonly StreamMessage[], deadlineMs: number): Promise<Outcome>
  /** The last message of a subject, through the stream's leader. Null: there is none. Rejects when nobody answers in time. */
  last(subject: string, deadlineMs: number): Promise<StoredMessage | null>
  /** The first message of a subject, in the same way. */
  first(subject: string, deadlineMs: number): Promise<StoredMessage | null>
  /** The message that stands at a sequence, through the stream's leader. Null: there is none any more, or none yet. */
  at(sequence: number, deadlineMs: number): Promise<StoredMessage | null>
  /** Subjects with at least one message that match a filter. Bounded by 100,000. */
  subjects(filter: string, deadlineMs: number): Promise<readonly string[]>
  state(deadlineMs: number): Promise<StreamState>
  read(options: ReadOptions): StreamReading
  /** Removes the messages of one subject whose sequence is below `keep`. Never without a subject. */
  purge(subject: string, keep: number, deadlineMs: number): Promise<void>
}

/**
 * Bounds of one batch: the server takes 1,000 messages. `bytes` is what may be gathered into one; what cannot be divided (an
 * append of a reader that bears a large event) is a batch alone, of at most `alone` bytes.
 */
export const batchLimits = { messages: 900, bytes: 16 * 1024 * 1024, alone: 544 * 1024 * 1024 } as const

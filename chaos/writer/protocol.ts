/** What the writer process is told and what it says. Both cross an IPC channel; the request is its first argument, as JSON. */
export interface WriterRequest {
  /** Unique among the writers of one run; the begin of every key that it writes. */
  readonly writer: string
  /** File that is appended to. */
  readonly ledger: string
  readonly seed: number
  /** Changes a second over all lanes, open-loop: what a stall delayed is written as fast as the source takes it. */
  readonly rate: number
  /** Connections to PostgreSQL, each with keys of its own; 0 writes no tables. */
  readonly postgresLanes: number
  readonly postgres?: string
  readonly redis?: string
  /** Stream of the clicks; none: no clicks. */
  readonly clicks?: string
  /** Share of the changes that are clicks, 0 to 1. */
  readonly clickShare: number
  /** Keys of each kind in one lane. */
  readonly keys: number
  /** Stops by itself after this many changes; 0 writes until it is told to stop. */
  readonly limit: number
}

/** To the writer. Losing the channel means the same. */
export type ToWriter = { readonly type: 'stop' }

export type FromWriter =
  | {
      readonly type: 'progress'
      /** Committed so far. */
      readonly changes: number
      readonly clicks: number
      readonly transactions: number
      /** How far the writer is behind its schedule, ms. */
      readonly behindMs: number
      readonly reconnects: number
    }
  | { readonly type: 'done'; readonly changes: number; readonly clicks: number; readonly transactions: number }
  | { readonly type: 'failed'; readonly message: string }

/** A window in which events may have been lost. Sound first: every true loss lies inside a reported window; tight second. */
export interface LossWindow {
  readonly source: string
  readonly lane: string
  readonly scope?: { readonly kind: 'channel' | 'pattern' | 'shard' | 'slot'; readonly name: string }
  /** Last position seen before the window; null if none. */
  readonly lastSeen: string | null
  /** Wall clock, UTC, ISO 8601. */
  readonly from: string
  readonly to: string
  /** Milliseconds on the monotonic clock. */
  readonly durationMs: number
  /** `slot-ahead`, `trimmed`, `log-rewind`, `disconnect`, `overflow`, `new-epoch`, … */
  readonly cause: string
  /** True where the window names an interval of positions that holds every lost event. */
  readonly bounded: boolean
  /** How many events, where that can be known. */
  readonly estimate?: number
}

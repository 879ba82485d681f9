/** How a processor treats failure. */
export interface RetryDefinition {
  /** ms; default 100. */
  readonly initial: number
  /** ms; default 10,000. */
  readonly max: number
  /** ms after which the event counts as failed; default 60,000. */
  readonly maxElapsed: number
  /** 0 to 1; default 0.2. */
  readonly jitter: number
}

/**
 * The one shape of an error that a person is meant to read: what failed, where, why, and what to do about it.
 * Rooms name their own codes; `exitCode` is what the command line ends with (1 the work failed, 2 usage or configuration).
 */
export interface TroupeErrorInit {
  /** Stable, kebab-case, documented: `slot-ahead`, `unknown-key`. */
  readonly code: string
  /** What happened, naming the thing. No secrets. */
  readonly message: string
  /** Where: `pipeline.yaml:12:5`, `source db`. */
  readonly place?: string
  /** What the reader of this can do about it. */
  readonly remedy?: string
  readonly exitCode?: 1 | 2
  /** True where a restart cannot help (wrong configuration, a gap): supervisors escalate it at once instead of retrying. */
  readonly permanent?: boolean
  readonly cause?: unknown
}

export class TroupeError extends Error {
  readonly code: string
  readonly place: string | undefined
  readonly remedy: string | undefined
  readonly exitCode: 1 | 2
  readonly permanent: boolean

  constructor(init: TroupeErrorInit) {
    super(init.message, init.cause === undefined ? undefined : { cause: init.cause })
    this.name = 'TroupeError'
    this.code = init.code
    this.place = init.place
    this.remedy = init.remedy
    this.exitCode = init.exitCode ?? 1
    this.permanent = init.permanent ?? false
  }

  /** The form that crosses a thread or a socket; `fromJSON` gives the error back. */
  toJSON(): TroupeErrorInit {
    return {
      code: this.code,
      message: this.message,
      ...(this.place === undefined ? {} : { place: this.place }),
      ...(this.remedy === undefined ? {} : { remedy: this.remedy }),
      exitCode: this.exitCode,
      permanent: this.permanent,
    }
  }

  static fromJSON(init: TroupeErrorInit): TroupeError {
    return new TroupeError(init)
  }
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

export function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(messageOf(thrown))
}

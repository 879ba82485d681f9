/** What the demo runs its pipeline on: this process alone, or nodes of a cluster. */
import type { Seeded } from '../../chaos/seed.js'
import type { PipelineStatus } from '../../src/index.js'

export interface Runner {
  /** Of the whole pipeline, wherever its parts run. */
  status(): Promise<PipelineStatus>
  /** What `kill` kills, and how long it leaves the others in peace. */
  readonly victims: { readonly name: 'threads' | 'nodes'; readonly everyMs: number; readonly peaceAtEndMs: number }
  /** Kills one at random, as a crash would. False: there is none now. It comes back by itself. */
  kill(random: Seeded): boolean
  /** One line of the nodes, where there are any. */
  nodes(): string | null
  /** Rejects where the pipeline ends by itself; never resolves. */
  readonly failed: Promise<never>
  /** Drains and ends. */
  stop(): Promise<void>
  /** Ends at once. */
  abandon(): Promise<void>
}

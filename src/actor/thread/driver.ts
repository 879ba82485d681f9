/** The port to what really runs a thread: worker_threads, or a kernel in this process under the simulated World. */
import type { Batch } from './link.js'
import type { ToHost } from './to-host.js'
import type { ThreadBirth, ToThread } from './to-thread.js'

export interface ThreadEvents {
  /** A batch from the thread, in order. */
  received(batch: Batch<ToHost>): void
  /** The thread is gone; called once, nothing comes after it. */
  died(detail: string): void
}

export interface RunningThread {
  /** @throws when something in the batch cannot be cloned */
  post(batch: Batch<ToThread>): void
  /** Ends it at once, as a crash would; `died` follows. */
  terminate(detail: string): void
}

export interface ThreadDriver {
  start(birth: ThreadBirth, events: ThreadEvents): RunningThread
}

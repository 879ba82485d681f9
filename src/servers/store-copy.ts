/**
 * What a power failure does to a NATS server, which no SIGKILL shows (the page cache outlives the process): its store as it
 * was some time ago, put back under it. What it had acknowledged since is gone.
 *
 * The server stands still while it is copied, so that the copy is of one moment. It lies in the server's directory and goes
 * with it.
 */
import { mkdtempSync } from 'node:fs'
import { cp, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { TroupeError } from '../world/error.js'
import type { NatsServer } from './nats.js'

export interface StoreCopy {
  readonly directory: string
  /** Puts the copy in the place of the store; may be done more than once. @throws TroupeError `server-running` */
  putBackStore(): Promise<void>
}

/** Copies the store of a server, which may run meanwhile and goes on. Throws `endpoint-not-ours` for one that the environment gave. */
export async function copyStore(server: NatsServer): Promise<StoreCopy> {
  const store = join(server.directory, 'store')
  const directory = mkdtempSync(join(server.directory, 'copy-'))
  const { running } = server
  if (running) server.pause()
  try {
    await cp(store, directory, { recursive: true })
  } finally {
    if (running) server.resume()
  }
  return {
    directory,
    async putBackStore() {
      if (server.running)
        throw new TroupeError({
          code: 'server-running',
          message: `the NATS server on port ${server.port} runs on the store that shall be replaced`,
          place: server.directory,
          remedy: 'kill() it first',
        })
      const fresh = `${directory}.back`
      await cp(directory, fresh, { recursive: true })
      await rm(store, { recursive: true, force: true })
      await rename(fresh, store)
    },
  }
}

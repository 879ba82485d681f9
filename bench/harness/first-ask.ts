/**
 * The begin of every measurement: the moment at which this process first asks its source for events, seen on its sockets.
 *
 * The same moment for ours, the limit and the peers. Taking the first *handled* event instead would leave out
 * whatever a side had read ahead by then.
 */
import { Socket } from 'node:net'
import { cpuMs, now } from './tally.js'

export interface Moment {
  readonly at: number
  readonly cpu: number
}

export type Ask = 'START_REPLICATION' | 'XREAD'

/** Call before the side asks. The function that it gives returns the moment; throws where nothing was asked. */
export function watchFirstAsk(ask: Ask): () => Moment {
  let moment: Moment | null = null
  const { write } = Socket.prototype
  const watching = function (this: Socket, ...args: Parameters<Socket['write']>) {
    // Command names come in either case.
    if (
      Buffer.from(args[0] as Uint8Array)
        .toString('latin1')
        .toUpperCase()
        .includes(ask)
    ) {
      moment = { at: now(), cpu: cpuMs() }
      Socket.prototype.write = write
    }
    return write.apply(this, args)
  }
  Socket.prototype.write = watching as Socket['write']
  return () => {
    if (moment === null) throw new Error(`no socket of this process sent ${ask}`)
    return moment
  }
}
